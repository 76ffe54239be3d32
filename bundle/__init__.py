"""The build side: a profile becomes a plan, the plan wheels and weights, and those one signed tarball."""
