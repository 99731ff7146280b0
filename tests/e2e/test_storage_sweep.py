"""Each write of one accept and one send fails or kills: nothing is lost, and nothing is doubled in silence.

The calls that are tried here are a few of each kind; `make faulttest` tries them all, until a run meets no fault.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailsvc.outbox import open_outbox
from tests.e2e.storage import KILLED, UNTRUSTED, Fault, Run, needed, one_mail

pytestmark = pytest.mark.sqlite

EVERY = os.environ.get("FAULTS") == "all"
# By call and action: which of the calls fail. The first are those of the start; then the mail is accepted, begun and
# settled, each with an fdatasync. The last number is beyond what a run makes.
SOME = {
    ("fdatasync", "signal=KILL"): (4, 5, 6),
    ("pwrite64", "signal=KILL"): (34,),
    ("pwrite64", "error=ENOSPC"): (9,),
    ("pwrite64", "error=EIO"): (30,),
    ("fdatasync", "error=EIO"): (4, 6),
}
LAST = {"fdatasync": 16, "pwrite64": 100}
FAULTS = [
    Fault(call, action, when)
    for (call, action), some in SOME.items()
    for when in (range(1, LAST[call] + 1) if EVERY else some)
]


async def run_with(folder: Path, fault: Fault) -> Run:
    """The run, on a database that is set up already, so that the start has little to write."""
    needed("strace", "what a fault of the disk costs")
    await (await open_outbox(f"sqlite:///{folder}/mailsvc.db")).close()
    return await one_mail(folder, fault)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.call}-{fault.action}-{fault.when}")
async def test_a_mail_survives_a_fault_at_any_write(tmp_path: Path, fault: Fault) -> None:
    run = await run_with(tmp_path, fault)

    run.check()
    assert run.struck or EVERY
    if run.struck:
        assert (KILLED in run.codes) == (fault.action == "signal=KILL")
        assert UNTRUSTED not in run.codes or fault.call == "fdatasync"
        if fault in (Fault("fdatasync", "error=EIO", 4), Fault("fdatasync", "error=EIO", 6)):
            assert UNTRUSTED in run.codes


if EVERY:

    @pytest.mark.parametrize(("call", "action"), SOME)
    async def test_the_sweep_goes_beyond_the_last_write(tmp_path: Path, call: str, action: str) -> None:
        run = await run_with(tmp_path, Fault(call, action, LAST[call]))

        assert not run.struck
