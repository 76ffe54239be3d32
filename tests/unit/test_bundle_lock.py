"""Locks and targets: one line a wheel, read back as written; nothing that the target cannot install gets through."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bundle import build, lock, targets
from bundle.lock import Lock, Locked
from checksums.errors import CollectError, IntegrityError, UsageError

TARGET = targets.make_target("3.11", "x86_64", "2.28")
CLICK = Locked("click", "8.5.1", "click-8.5.1-py3-none-any.whl", "a" * 64, 1234, "index")
TORCH = Locked(
    "torch", "2.13.0+cpu", "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl", "b" * 64, 5678, "find-links"
)
GOOD = Lock("c" * 64, (CLICK, TORCH))


def test_a_lock_is_read_back_as_it_was_written() -> None:
    assert lock.parse(lock.render(GOOD, TARGET), "test") == GOOD
    assert lock.parse(lock.render(COMPLETE, TARGET), "test") == COMPLETE


@pytest.mark.parametrize("path", sorted(build.LOCKS.glob("*.txt")), ids=lambda path: path.name)
def test_a_committed_lock_is_current_and_fits_its_target(path: Path) -> None:
    tag, machine, glibc = path.stem.split("-")
    target = targets.make_target(f"3.{tag[3:]}", machine, glibc.removeprefix("glibc"))
    requirements = (Path(build.__file__).parent.parent / "requirements.in").read_text()
    assert path.name == targets.lock_name(target)
    assert lock.committed(build.LOCKS, requirements, target) == (lock.read(path), path)
    assert lock.render(lock.read(path), target) == path.read_text()


@pytest.mark.parametrize("path", sorted(build.LOCKS.glob("*.txt")), ids=lambda path: path.name)
def test_a_committed_lock_holds_no_address_and_no_path(path: Path) -> None:
    assert "/" not in path.read_text()


@pytest.mark.parametrize(
    "line",
    [
        "click",
        "click==8.5.1",
        "click>=8.5.1 --hash=sha256:" + "a" * 64 + "  # click-8.5.1-py3-none-any.whl 1 index",
        "-r /etc/passwd",
        "--index-url https://example.org/simple",
        " " + lock.line(CLICK),
        lock.line(CLICK) + "\r",
        lock.line(CLICK) + " ; rm -rf /",
        lock.line(CLICK).replace("index", "https://example.org"),
        lock.line(CLICK).replace(" 1234 ", " -1 "),
        lock.line(CLICK).replace(" 1234 ", f" {'9' * 14} "),
        lock.line(CLICK).replace("a" * 64, "A" * 64),
        lock.line(CLICK).replace("sha256", "md5"),
        lock.line(CLICK).replace("8.5.1-py3", "8.5.1\x1b[2J-py3"),
        lock.line(CLICK) + " needs ../../etc",
        lock.line(CLICK) + " needs",
        "click==8.5.1 --hash=sha256:12  # click-8.5.1-py3-none-any.whl 1 index",
        "click @ https://example.org/click.whl",
        f"--extra-index-url x\n{lock.requirement(CLICK)}",
        f"{lock.requirement(CLICK)}  # ../click-8.5.1-py3-none-any.whl 1 index",
    ],
)
def test_a_line_that_is_not_a_locks_is_refused(line: str) -> None:
    with pytest.raises(IntegrityError, match="test: line 1"):
        lock.parse(line, "test")


def test_a_lock_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(IntegrityError, match=r"bad\.txt: not UTF-8"):
        lock.read(tmp_path / "bad.txt")


@pytest.mark.parametrize(
    ("wheel", "said"),
    [
        (replace(CLICK, file="evil-8.5.1-py3-none-any.whl"), "evil-8.5.1-py3-none-any.whl is not click 8.5.1"),
        (replace(CLICK, file="click-8.5.0-py3-none-any.whl"), "click-8.5.0-py3-none-any.whl is not click 8.5.1"),
        (replace(CLICK, version="not.a.version!"), "is not click"),
    ],
)
def test_a_line_that_names_the_file_of_another_package_is_refused(wheel: Locked, said: str) -> None:
    with pytest.raises(CollectError, match=said):
        lock.check(replace(GOOD, wheels=(wheel,)), TARGET)


NEEDY = replace(CLICK, name="flask", version="3.1.3", file="flask-3.1.3-py3-none-any.whl", needs=("click",))
COMPLETE = Lock("c" * 64, (CLICK, NEEDY))


@pytest.mark.parametrize(
    ("requirements", "wheels", "said"),
    [
        ("flask==3.1.3", (NEEDY,), "click: no wheel, and flask needs it"),
        ("flask==3.1.3\nuv", (CLICK, NEEDY), "uv: no wheel, and requirements.in needs it"),
        ("flask==3.1.2", (CLICK, NEEDY), "flask 3.1.3: requirements.in needs flask==3.1.2"),
        ("click", (CLICK, NEEDY), "flask: nothing needs it"),
        ('flask\ntomli; python_version >= "3.11"', (CLICK, NEEDY), "tomli: no wheel"),
        ("flask\n!!", (CLICK, NEEDY), "'!!' is no requirement"),
    ],
)
def test_a_lock_that_is_not_complete_is_refused(requirements: str, wheels: tuple[Locked, ...], said: str) -> None:
    lock.prove(COMPLETE, "flask==3.1.3\ntomli; python_version < '3.11'", TARGET)
    with pytest.raises(CollectError) as caught:
        lock.prove(replace(COMPLETE, wheels=wheels), requirements, TARGET)
    assert said in caught.value.message


def test_every_gap_of_a_lock_is_named_at_once() -> None:
    with pytest.raises(CollectError) as caught:
        lock.prove(replace(COMPLETE, wheels=(NEEDY,)), "flask\nuv\ntqdm", TARGET)
    assert all(f"{name}: no wheel" in caught.value.message for name in ("click", "uv", "tqdm"))


def write_lock(folder: Path, glibc: str, wheels: tuple[Locked, ...]) -> Path:
    target = replace(TARGET, glibc=glibc)
    made = Lock(lock.requirements_digest("flask"), wheels)
    (folder / targets.lock_name(target)).write_text(lock.render(made, target))
    return folder / targets.lock_name(target)


def test_a_lock_for_another_glibc_does_where_every_wheel_fits(tmp_path: Path) -> None:
    path = write_lock(tmp_path, "2.28", (CLICK, NEEDY))
    for glibc in ("2.28", "2.31", "2.40"):
        found = lock.committed(tmp_path, "flask", replace(TARGET, glibc=glibc))
        assert found is not None
        assert found[1] == path
    assert lock.committed(tmp_path, "flask", replace(TARGET, python="3.12")) is None
    assert lock.committed(tmp_path, "flask", replace(TARGET, platform="aarch64")) is None


def test_a_lock_for_a_newer_glibc_does_only_where_every_wheel_fits(tmp_path: Path) -> None:
    newer = replace(CLICK, file="click-8.5.1-cp311-cp311-manylinux_2_35_x86_64.whl")
    path = write_lock(tmp_path, "2.36", (newer, NEEDY))
    assert lock.committed(tmp_path, "flask", replace(TARGET, glibc="2.28")) is None
    found = lock.committed(tmp_path, "flask", replace(TARGET, glibc="2.35"))
    assert found is not None
    assert found[1] == path


def test_a_targets_own_lock_that_does_not_fit_is_not_passed_over(tmp_path: Path) -> None:
    path = write_lock(tmp_path, "2.28", (replace(CLICK, file="click-8.5.1-cp39-cp39-win32.whl"), NEEDY))
    with pytest.raises(CollectError, match=rf"{path.name}: click-8\.5\.1-cp39-cp39-win32\.whl does not fit"):
        lock.committed(tmp_path, "flask", TARGET)


def test_a_lock_from_other_requirements_is_stale(tmp_path: Path) -> None:
    path = write_lock(tmp_path, "2.28", (CLICK, NEEDY))
    with pytest.raises(UsageError, match=rf"{path.name}: requirements\.in changed since"):
        lock.committed(tmp_path, "flask\nuv", TARGET)


@pytest.mark.parametrize("name", ["nvidia-cublas-cu12", "triton", "cuda-toolkit", "pytorch-triton-rocm"])
def test_a_package_for_a_gpu_is_refused(name: str) -> None:
    gpu = Locked(name, "1.0", f"{name.replace('-', '_')}-1.0-py3-none-any.whl", "d" * 64, 1, "index")
    with pytest.raises(CollectError, match=name):
        lock.check(replace(GOOD, wheels=(CLICK, gpu)), TARGET)


def test_a_cuda_build_of_torch_is_refused() -> None:
    cuda = replace(TORCH, version="2.13.0+cu130", file=TORCH.file.replace("+cpu", "+cu130"))
    with pytest.raises(CollectError, match="torch: a GPU package"):
        lock.check(replace(GOOD, wheels=(cuda,)), TARGET)


def test_every_fault_of_a_lock_is_named_at_once() -> None:
    arm = replace(CLICK, name="arm", file="arm-1.0-cp311-cp311-manylinux_2_28_aarch64.whl")
    new = replace(CLICK, name="new", file="new-1.0-cp311-cp311-manylinux_2_39_x86_64.whl")
    with pytest.raises(CollectError) as caught:
        lock.check(replace(GOOD, wheels=(arm, new, CLICK, CLICK)), TARGET)
    assert all(word in caught.value.message for word in (arm.file, new.file, "click is locked twice"))


@pytest.mark.parametrize(
    ("file", "fits"),
    [
        ("a-1-py3-none-any.whl", True),
        ("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", True),
        ("a-1-cp311-cp311-manylinux2014_x86_64.whl", True),
        ("a-1-cp38-abi3-manylinux1_x86_64.whl", True),
        ("a-1-cp312-cp312-manylinux_2_28_x86_64.whl", False),
        ("a-1-cp311-cp311-manylinux_2_31_x86_64.whl", False),
        ("a-1-cp311-cp311-musllinux_1_2_x86_64.whl", False),
        ("a-1-cp311-cp311-win_amd64.whl", False),
        ("a-1.tar.gz", False),
    ],
)
def test_a_wheel_fits_by_its_tags(file: str, fits: bool) -> None:
    assert (targets.rank(file, TARGET) is not None) is fits


def test_the_wheel_that_was_made_for_the_target_is_better_than_a_general_one() -> None:
    own, general = (targets.rank(name, TARGET) for name in (TORCH.file, CLICK.file))
    assert own is not None
    assert general is not None
    assert own < general


def test_a_target_that_ferry_does_not_know_is_refused() -> None:
    with pytest.raises(UsageError):
        targets.make_target("3.11", "sparc", "2.28")


def test_a_refreshed_lock_tells_what_changed() -> None:
    newer = replace(CLICK, version="8.6.0", file="click-8.6.0-py3-none-any.whl")
    rebuilt = replace(TORCH, sha256="e" * 64)
    assert lock.changes(GOOD, replace(GOOD, wheels=(newer, rebuilt))) == [
        "~ click 8.5.1 -> 8.6.0",
        f"! torch 2.13.0+cpu: another file, {TORCH.file}",
    ]
    assert lock.changes(None, GOOD) == ["+ click 8.5.1", "+ torch 2.13.0+cpu"]
    assert lock.changes(GOOD, replace(GOOD, wheels=())) == ["- click 8.5.1", "- torch 2.13.0+cpu"]
    assert lock.changes(GOOD, GOOD) == []
    told = replace(CLICK, needs=("colorama",))
    assert lock.changes(GOOD, replace(GOOD, wheels=(told, TORCH))) == ["! click 8.5.1: the same file, described anew"]


def test_comments_in_the_requirements_do_not_make_a_lock_stale() -> None:
    assert lock.requirements_digest("# why\n\na==1  # why\n") == lock.requirements_digest("a==1")
    assert lock.requirements_digest("a==1") != lock.requirements_digest("a==2")
