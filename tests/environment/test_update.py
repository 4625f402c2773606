"""A release with another application: taken over in seconds, given back, while workers run."""

from __future__ import annotations

import pytest

from tests.environment.host import Host, Step
from tests.machines import Document, Machines, changed_wheel

pytestmark = pytest.mark.timeout(3600)

#: A default that stands in every picture: of the code as it is, and of the second release.
DEFAULT = "worker/settings.py"
BEFORE, AFTER = b'"Packshot"', b'"Second studio"'


@pytest.fixture(scope="module")
def second(
    site: Machines, active: Document, step: Step, tmp_path_factory: pytest.TempPathFactory
) -> Document:
    """The same environment and weights, an application that gives another default."""
    with step("pack the changed application, release it"):
        wheel = changed_wheel(tmp_path_factory.mktemp("second"), DEFAULT, BEFORE, AFTER)
        into = ("--depot", site.depot, "--key", site.key)
        app = site.build("app", "--wheel", wheel, *into)["digest"]
        site.build("delta", app, "--base", active["app"], *into)
        return site.release({"env": active["env"], "app": app, "model": active["model"]})


def test_an_update_is_served_and_rolled_back_while_workers_run(
    host: Host, site: Machines, active: Document, second: Document, step: Step
) -> None:
    with host.worker(active["digest"]):
        with step("update the application on the host: unpack and activate"):
            fetched = site.unpack(second["digest"])["fetched"]
            site.host("activate", second["digest"])
        stays = host.edit("make it blue").read_bytes()
    with host.worker(second["digest"]):
        with step("roll back"):
            back = site.host("rollback")["active"]
        served = host.edit("make it red").read_bytes()
    with host.worker(active["digest"]):
        pass

    assert 0 < fetched < 100_000
    assert back == active["digest"]
    assert AFTER.strip(b'"') not in stays, "a worker stays with what it was started from"
    assert AFTER.strip(b'"') in served
