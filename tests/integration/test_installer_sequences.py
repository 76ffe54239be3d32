"""Any order of commands against a model of the server; `make soak` does a thousand sequences, this a few."""

from installer_machine import drive


def test_a_server_is_what_the_model_says_after_any_order_of_commands() -> None:
    drive(sequences=4, steps=6)
