# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is measured: guests and links. Pure."""

from __future__ import annotations

from dataclasses import dataclass

VETH = "veth"
GBIT = "1gbit"


@dataclass(frozen=True)
class Scenario:
    name: str
    memory_mib: int
    touched_mib: int  # once, incompressible; without the writer's working set
    working_set_mib: int = 0  # incompressible, written at random
    rate_mb_s: int = 0  # 10^6 bytes

    @property
    def memory_writer(self) -> str | None:
        if not self.working_set_mib:
            return None
        return f"ws={self.working_set_mib}M,rate={self.rate_mb_s * 1_000_000},fill=random,order=random"

    @property
    def touch(self) -> str:
        return f"gw.touch={self.touched_mib}M,fill=random"

    @property
    def warm_mib(self) -> int:
        """What the destination will need, and what the source will if it reads the holes of its memory, as QEMU's own
        search for zero pages does: a read of a hole gives it a page."""
        return self.memory_mib + (self.memory_mib - self.touched_mib - self.working_set_mib)


SCENARIOS = (
    Scenario("idle-2g", memory_mib=2048, touched_mib=256),
    Scenario("writer-50", memory_mib=1536, touched_mib=768, working_set_mib=256, rate_mb_s=50),
    Scenario("writer-200", memory_mib=1536, touched_mib=768, working_set_mib=256, rate_mb_s=200),
    Scenario("large-4g", memory_mib=4096, touched_mib=3072),
)
LINKS = {VETH: None, GBIT: "1gbit"}  # name → rate, as the lab takes it

ALL = [(scenario, link) for link in LINKS for scenario in SCENARIOS]
QUICK = [(scenario, VETH) for scenario in SCENARIOS[:2]]


def deadline_s(scenario: Scenario, link: str) -> int:
    """What has not converged by then is called off: a minute, or three times what one pass over the memory takes."""
    bytes_per_s = 115e6 if link == GBIT else 1e9
    touched = (scenario.touched_mib + scenario.working_set_mib) << 20
    return max(60, round(3 * touched / bytes_per_s))
