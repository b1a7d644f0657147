"""The pool: warm workers, one reply for every job, deadlines on everything, and no process left behind."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.session import pool as module
from harness.session.pool import Abandoned, Batch, Job, Pool, Reply
from harness.target import Target
from harness.wire import Collect, Script

JAX = Target("jax")
CASE = "from harness import case\n@case\ndef it(record): record('x', 1)\n"


@pytest.fixture(autouse=True)
def impatience() -> Iterator[None]:
    """Fails a test that waits for ever, as a pool without deadlines would."""

    def give_up(*_: object) -> None:
        raise TimeoutError("the pool did not come to an end")

    heard = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(180)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, heard)


def collecting(project: Any, name: str, text: str, timeout: float = 60.0, target: Target = JAX) -> Job:
    """A job to collect a file, which imports it in a child."""
    file = project.write(f"cases/{name}.py", text)
    result = project.folder / f"{name}.json"
    return Job(target, Collect(file, project.folder, result), timeout, project.folder / f"{name}.txt")


class Events:
    """What a pool said, in order."""

    def __init__(self) -> None:
        self.started: list[Job] = []
        self.replies: list[Reply] = []
        self.most = 0

    def start(self, job: Job) -> None:
        self.started.append(job)
        self.most = max(self.most, len(self.started) - len(self.replies))

    def reply(self, reply: Reply) -> None:
        self.replies.append(reply)


def carry_out(pool: Pool, jobs: list[Job], **options: Any) -> Events:
    events = Events()
    batch = Batch(events.reply, on_start=events.start, **options)
    pool.add(batch, jobs)
    pool.work(batch)
    return events


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """A warm worker on jax that does two things at once."""
    with Pool([JAX], tmp_path_factory.mktemp("logs"), jobs=2) as pool:
        yield pool


def test_every_request_gets_one_reply_and_they_start_in_order(pool: Pool, project: Any) -> None:
    jobs = [collecting(project, f"x{number}", CASE) for number in range(6)]
    events = carry_out(pool, jobs)
    assert events.started == jobs
    assert sorted(jobs.index(reply.job) for reply in events.replies) == list(range(6))
    assert {(reply.ended, reply.code, reply.output) for reply in events.replies} == {("exit", 0, "")}
    assert all(job.work.result.exists() for job in jobs)
    assert pool.why_not(JAX) is None


def test_as_many_run_at_once_as_were_allowed_and_no_more(pool: Pool, project: Any) -> None:
    events = carry_out(pool, [collecting(project, f"x{n}", "import time; time.sleep(0.2)") for n in range(5)])
    assert events.most == 2


def test_what_is_no_longer_wanted_is_dropped(pool: Pool, project: Any) -> None:
    jobs = [collecting(project, f"x{number}", CASE) for number in range(4)]
    events = carry_out(pool, jobs, is_wanted=lambda job: job in jobs[2:])
    assert events.started == jobs[2:]
    assert sorted(map(jobs.index, (reply.job for reply in events.replies))) == [2, 3]


def test_no_request_is_done_at_once(pool: Pool) -> None:
    assert carry_out(pool, []).replies == []


@pytest.mark.parametrize(
    ("text", "ended", "code"),
    [
        ("import os; print('last words', flush=True); os._exit(7)", "exit", 7),
        ("import os; print('last words', flush=True); os.kill(os.getpid(), 9)", "signal", 9),
        ("import os; os.write(2, b'last words'); os.close(1); os.close(2); os.abort()", "signal", 6),
        ("import time; print('last words', flush=True); time.sleep(600)", "timeout", 9),
    ],
)
def test_a_bad_end_is_told_with_the_last_words(pool: Pool, project: Any, text: str, ended: str, code: int) -> None:
    (reply,) = carry_out(pool, [collecting(project, "x", text, timeout=2)]).replies
    assert (reply.ended, reply.code) == (ended, code)
    assert "last words" in reply.output
    assert pool.why_not(JAX) is None


def test_output_of_any_bytes_is_told_by_its_end(pool: Pool, project: Any) -> None:
    text = "import os\nos.write(1, b''.join(b'%d \\xff\\n' % n for n in range(50000)))\nos._exit(1)"
    (reply,) = carry_out(pool, [collecting(project, "x", text)]).replies
    lines = reply.output.splitlines()
    assert lines == [f"{number} \ufffd" for number in range(50000 - len(lines), 50000)]
    assert 5 <= len(lines) <= 100


def test_what_a_child_prints_and_reads_does_not_reach_the_channel(pool: Pool, project: Any) -> None:
    prints = "import sys\nfor f in (sys.stdout, sys.__stdout__): print('{\"id\": 1}', file=f)\n"
    reads = "assert sys.stdin.read() == ''\n"
    jobs = [collecting(project, "x", prints + reads + CASE), collecting(project, "y", CASE)]
    replies = carry_out(pool, jobs).replies
    assert sorted((reply.ended, reply.code) for reply in replies) == [("exit", 0), ("exit", 0)]
    assert (project.folder / "x.txt").read_text() == '{"id": 1}\n' * 2


@pytest.mark.parametrize(
    ("ended", "code", "words"),
    [
        ("timeout", 9, "ran past its limit of 2.5 s and was killed"),
        ("signal", 11, "was killed by SIGSEGV"),
        ("signal", 99, "was killed by signal 99"),
        ("exit", 0, "ended with status 0"),
        ("exit", 3, "ended with status 3"),
        ("worker", 0, "could not run"),
        ("lost", 0, "did not end: last"),
    ],
)
def test_a_reply_is_described_in_words(ended: Any, code: int, words: str) -> None:
    job = Job(JAX, Script(Path(), Path()), 2.5, Path("output.txt"))
    if ended != "lost":  # of which it is always said what became of the worker
        assert words in Reply(job, ended, code, 0.0, "").describe()
    described = Reply(job, ended, code, 0.0, "last\nwords").describe()
    assert words in described.splitlines()[0]
    assert described.endswith("last\nwords")


@pytest.fixture
def backend(project: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Pool]:
    """Starts a pool whose TensorFlow is a module of that text."""

    def start(text: str) -> Pool:
        project.write("site/tensorflow/__init__.py", text)
        monkeypatch.setenv("PYTHONPATH", project.environment["PYTHONPATH"])
        return Pool([Target("tensorflow")], project.folder / "logs", jobs=1)

    return start


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("print('last words')\nraise RuntimeError('broken')", ["cannot be imported", "RuntimeError: broken"]),
        ("import os; os.write(1, b'last words'); os._exit(7)", ["its worker ended", "status 7"]),
        ("import os; os.write(2, b'last words'); os.kill(os.getpid(), 9)", ["its worker was killed", "SIGKILL"]),
        ("print('last words', flush=True)\nimport sys; sys.exit('enough')", ["its worker ended", "status 1"]),
    ],
)
def test_a_worker_that_does_not_come_up_is_told_of_every_request(
    project: Any, backend: Callable[[str], Pool], text: str, words: list[str]
) -> None:
    jobs = [collecting(project, f"x{n}", CASE, target=Target("tensorflow")) for n in range(2)]
    with backend(text) as pool:
        events = carry_out(pool, jobs)
        reason = pool.why_not(Target("tensorflow"))
    assert [(reply.job, reply.ended, reply.output) for reply in events.replies] == [
        (job, "worker", reason) for job in jobs
    ]
    assert [word for word in [*words, "last words"] if word not in str(reason)] == []


def test_a_worker_that_never_comes_up_is_given_up(
    project: Any, backend: Callable[[str], Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STARTUP_TIMEOUT", 2.0)
    with backend("import time; time.sleep(600)") as pool:
        (reply,) = carry_out(pool, [collecting(project, "x", CASE, target=Target("tensorflow"))]).replies
    assert reply.ended == "worker"
    assert "not ready after 2 s" in reply.output


STOPS_ITS_WORKER = "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\n"


def test_a_worker_that_stops_answering_is_replaced(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.5)
    jobs = [collecting(project, name, text, 1.0) for name, text in (("x", STOPS_ITS_WORKER), ("y", CASE))]
    with Pool([JAX], project.folder / "logs", jobs=1) as pool:
        replies = carry_out(pool, jobs).replies
    assert [(reply.job, reply.ended) for reply in replies] == [(jobs[0], "lost"), (jobs[1], "exit")]
    assert "the worker of jax stopped answering while it ran this" in replies[0].output


def test_a_worker_that_takes_no_more_requests_is_replaced(
    project: Any, monkeypatch: pytest.MonkeyPatch, comes_true: Callable[..., bool]
) -> None:
    """Its channel is full, and nobody reads it."""
    monkeypatch.setattr(module, "GRACE", 0.5)
    stopped = project.folder / "stopped"
    text = f"{STOPS_ITS_WORKER}open({str(stopped)!r}, 'w')\nimport time\ntime.sleep(600)"
    small = collecting(project, "x", text, timeout=600)
    large = Job(JAX, Collect(Path("y" * 2_000_000), Path(), Path()), 600, project.folder / "y.txt")

    def is_wanted(job: Job) -> bool:
        return job is small or comes_true(stopped.exists)

    with Pool([JAX], project.folder / "logs", jobs=2) as pool:
        replies = carry_out(pool, [small, large], is_wanted=is_wanted).replies
    assert {(reply.job is small, reply.ended) for reply in replies} == {(True, "lost"), (False, "exit")}


KILLS_ITS_WORKER = """
import fcntl, os, signal, time
from harness import case


@case
def before(record):
    record("x", 1)


@case
def kills(record, target):
    if str(target) == "jax":
        lock = open("alive.lock", "w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    record("x", 1)


@case
def after(record):
    record("x", 1)
"""


@pytest.fixture(scope="module")
def bereft(make_project: Callable[[], Any]) -> Any:
    """A run in which the second worker is killed while it runs a case."""
    project = make_project()
    project.write("cases/x.py", KILLS_ITS_WORKER)
    arguments = ("--targets", "jax:cpu,jax", "--jobs", "1", "--precision", "float32", "--out", "out")
    project.process = project.harness("run", *arguments)
    return project


def statuses(project: Any, target: str) -> list[str]:
    runs = [run for case in project.result()["cases"] for run in case["runs"]]
    return [run["status"] for run in runs if run["target"] == target]


@pytest.mark.slow
class TestAWorkerIsKilled:
    def test_the_case_that_ran_is_told_and_the_others_go_on(self, bereft: Any) -> None:
        assert bereft.process.returncode == 3
        assert statuses(bereft, "jax") == ["ok", "crashed", "ok"]
        error = bereft.cases()["kills"]["runs"][1]["error"]
        assert error.startswith("did not end: the worker of jax was killed by SIGKILL while it ran this")
        assert "x.py::kills on jax: crashed" in bereft.process.stdout

    def test_other_targets_go_on(self, bereft: Any) -> None:
        assert statuses(bereft, "jax:cpu") == ["ok", "ok", "ok"]

    def test_the_case_that_ran_does_not_outlive_the_run(self, bereft: Any, comes_true: Callable[..., bool]) -> None:
        assert comes_true(lambda: not bereft.is_held("alive.lock"))


def test_no_worker_outlives_the_pool(project: Any) -> None:
    text = f"import os, pathlib\npathlib.Path({str(project.folder)!r}, 'worker.pid').write_text(str(os.getppid()))"
    with Pool([JAX], project.folder / "logs", jobs=1) as pool:
        carry_out(pool, [collecting(project, "x", text)])
        worker = int((project.folder / "worker.pid").read_text())
        os.kill(worker, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_nothing_outlives_a_pool_that_is_left_in_the_middle(project: Any, comes_true: Callable[..., bool]) -> None:
    text = f"import fcntl, time\nlock = open({str(project.folder / 'alive.lock')!r}, 'w')\n"
    text += "fcntl.flock(lock, fcntl.LOCK_EX)\ntime.sleep(600)"

    def leave(_: Job) -> None:
        assert comes_true((project.folder / "alive.lock").exists)
        raise KeyboardInterrupt

    def run() -> None:
        with Pool([JAX], project.folder / "logs", jobs=1) as pool:
            batch = Batch(lambda _: None, on_start=leave)
            pool.add(batch, [collecting(project, "x", text)])
            pool.work(batch)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert comes_true(lambda: not project.is_held("alive.lock"))


class InAThread:
    """A function in a thread of its own, and how it ended."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.ended: Any = None

        def work() -> None:
            try:
                self.ended = function()
            except BaseException as error:
                self.ended = error

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def wait(self) -> Any:
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.ended


def waiting_for(project: Any, name: str, path: Path) -> Job:
    """A job that ends as soon as there is a file."""
    text = f"import os, time\nwhile not os.path.exists({str(path)!r}): time.sleep(0.05)"
    return collecting(project, name, text)


def making(project: Any, name: str, path: Path) -> Job:
    return collecting(project, name, f"open({str(path)!r}, 'w').close()")


class TestTwoThreads:
    @pytest.mark.parametrize("first", [True, False], ids=["which waits first", "which comes later"])
    def test_each_is_told_of_its_own_jobs_in_itself(self, pool: Pool, project: Any, first: bool) -> None:
        """The job of one ends only when that of the other has run: the pool is driven for both, whoever drives."""
        there = project.folder / "there"
        jobs = [waiting_for(project, "waits", there), making(project, "makes", there)]
        mine, other = jobs if first else reversed(jobs)
        told: dict[int, list[Job]] = {}

        def carry_out_here(job: Job) -> None:
            pool.run([job], lambda reply: told.setdefault(threading.get_ident(), []).append(reply.job))

        thread = InAThread(lambda: carry_out_here(other))
        carry_out_here(mine)
        assert thread.wait() is None
        assert told == {threading.get_ident(): [mine], thread.thread.ident: [other]}

    def test_with_one_job_at_once_they_take_turns(self, project: Any) -> None:
        mine, theirs = ([collecting(project, f"{who}{n}", CASE) for n in range(3)] for who in "ab")
        order: list[Job] = []
        threads: list[InAThread] = []

        def is_wanted(job: Job) -> bool:
            order.append(job)
            return True

        def begin(_: Job) -> None:
            if not threads:
                batch = Batch(lambda _: None, is_wanted=is_wanted)
                pool.add(batch, theirs)
                threads.append(InAThread(lambda: pool.work(batch)))

        with Pool([JAX], project.folder / "logs", jobs=1) as pool:
            batch = Batch(lambda _: None, on_start=begin, is_wanted=is_wanted)
            pool.add(batch, mine)
            pool.work(batch)
            assert threads[0].wait() is None
        assert order == [job for pair in zip(mine, theirs, strict=True) for job in pair]
        assert batch.held > 0

    def test_jobs_that_are_added_on_the_way_come_first(self, pool: Pool, project: Any) -> None:
        jobs = [collecting(project, f"x{number}", CASE) for number in range(8)]
        started: list[Job] = []

        def receive(reply: Reply) -> None:
            if reply.job is jobs[0]:
                pool.add(batch, jobs[6:])

        batch = Batch(receive, on_start=started.append)
        pool.add(batch, jobs[:6])
        pool.work(batch)
        assert sorted(map(jobs.index, started)) == list(range(8))
        assert max(map(started.index, jobs[6:])) < started.index(jobs[5])

    def test_no_job_begins_before_its_thread_knows_what_became_of_those_before(self, project: Any) -> None:
        """As a float64 run, which is dropped if the float32 run failed: nobody else may start it in between."""
        jobs = [collecting(project, f"x{number}", CASE) for number in range(2)]
        is_known = threading.Event()

        def receive(_: Reply) -> None:
            others = [collecting(project, f"y{number}", CASE) for number in range(2)]
            assert InAThread(lambda: pool.run(others, lambda _: None)).wait() is not None  # it drives meanwhile
            is_known.set()

        with Pool([JAX], project.folder / "logs", jobs=1) as pool:
            asked: list[bool] = []
            batch = Batch(receive, is_wanted=lambda job: job is jobs[0] or bool(asked.append(is_known.is_set())))
            pool.add(batch, jobs)
            pool.work(batch)
        assert asked == [True]

    def test_what_one_raises_is_raised_there_and_the_other_goes_on(self, pool: Pool, project: Any) -> None:
        there = project.folder / "there"

        def fail(_: Any) -> Any:
            raise ValueError("of one")

        raising = Batch(fail, is_wanted=lambda _: True)
        pool.add(raising, [collecting(project, "x", CASE), waiting_for(project, "y", there)])
        asking = Batch(lambda _: None, is_wanted=fail)
        pool.add(asking, [collecting(project, "z", CASE)])
        threads = [InAThread(lambda: pool.work(raising)), InAThread(lambda: pool.work(asking))]
        assert [str(thread.wait()) for thread in threads] == ["of one"] * 2
        there.touch()
        assert len(carry_out(pool, [collecting(project, "u", CASE)]).replies) == 1

    def test_one_that_is_stopped_waits_no_longer_and_the_other_goes_on(self, pool: Pool, project: Any) -> None:
        there, is_stopped = project.folder / "there", threading.Event()
        thread = InAThread(lambda: pool.run([waiting_for(project, "x", there)], lambda _: None, is_stopped.is_set))

        def stop(_: Reply) -> None:
            is_stopped.set()
            assert isinstance(thread.wait(), Abandoned)
            there.touch()

        pool.run([collecting(project, "y", CASE)], stop)

    def test_none_waits_for_a_pool_that_is_closed(self, project: Any) -> None:
        pool = Pool([JAX], project.folder / "logs", jobs=1)
        begun = threading.Event()
        batch = Batch(lambda _: None, on_start=lambda _: begun.set())
        pool.add(batch, [waiting_for(project, "x", project.folder / "never")])
        thread = InAThread(lambda: pool.work(batch))
        assert begun.wait(60)
        pool.__exit__()
        assert isinstance(thread.wait(), Abandoned)
        with pytest.raises(Abandoned):
            pool.run([collecting(project, "y", CASE)], lambda _: None)
