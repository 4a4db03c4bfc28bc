"""failover there and back: what stands in the files of the zone then, as OctoDNS has it and as lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from cli import exit_codes
from cli.main import main
from tests.decl.db_node import DbNode, db_node

SOURCE = """_format_version: "3.0"
clusters:
  main: {nodes: ["%s"], trusted_ips: [], dns: {cname: main.example.net}}
  spare: {nodes: ["%s"], trusted_ips: [], dns: {addresses: [203.0.113.9, 203.0.113.10, "2001:db8::9"], ttl: 30}}
tenants:
- name: order
  cluster: main
  standby: spare
  owner: team-order
  hosts: [example.com, order10.example.com, order2.example.com, "*.order.example.com", "order.*"]
services:
- name: checkout
  tenant: order
  url: http://checkout.internal
  routes: [{name: checkout, paths: [/checkout], tags: [public]}]
"""
ADDRESSES = [
    {"ttl": 30, "type": "A", "values": ["203.0.113.9", "203.0.113.10"]},
    {"ttl": 30, "type": "AAAA", "value": "2001:db8::9"},
]
THERE = {"": ADDRESSES, "*.order": ADDRESSES, "order2": ADDRESSES, "order10": ADDRESSES}
NAME = {"ttl": 60, "type": "CNAME", "value": "main.example.net."}
BACK = {"": {**NAME, "type": "ALIAS"}, "*.order": NAME, "order2": NAME, "order10": NAME}


@pytest.fixture(scope="module")
def node() -> Iterator[DbNode]:
    with db_node(KONG_DATABASE="off") as found:
        yield found


@pytest.fixture(autouse=True)
def folder(node: DbNode, own_folder: Path) -> None:
    """The files, and a node that has their config."""
    Path("gateway.yaml").write_text(SOURCE % (node.admin, node.admin))
    kgate("sync", "--cluster", "spare", "--yes", "--max-deletes", "100%")


def kgate(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="kgate")
    assert result.exit_code == code, result.output
    return result


def failover(*options: str, code: int = 0) -> Result:
    return kgate("failover", "order", *options, code=code)


def test_octodns_there_and_back() -> None:
    told = failover("--to", "spare", "--write", "dns")
    assert told.stdout == "wrote dns/example.com.yaml\n"
    assert "host 'order.*' has no DNS name of its own: change it by hand" in told.stderr
    path = Path("dns/example.com.yaml")
    assert path.read_text().startswith("---\n")
    there = yaml.safe_load(path.read_bytes())
    assert there == THERE
    # OctoDNS refuses another order: numbers by their value
    assert list(there) == ["", "*.order", "order2", "order10"]
    failover("--back", "--write", "dns")
    back = yaml.safe_load(path.read_bytes())
    assert (back, list(back)) == (BACK, list(BACK))
    failover("--to", "spare", "--write", "dns")
    assert yaml.safe_load(path.read_bytes()) == THERE
    assert [each.name for each in Path("dns").iterdir()] == ["example.com.yaml"]


def test_without_write_it_is_printed_alone() -> None:
    text = failover("--to", "spare").stdout
    name, _, zone = text.partition("\n")
    assert (name, yaml.safe_load(zone)) == ("# example.com.yaml", THERE)
    assert {path.name for path in Path().iterdir()} == {"gateway.yaml", "history"}


LINES = """example.com.\t30\tIN\tA\t203.0.113.9
example.com.\t30\tIN\tA\t203.0.113.10
example.com.\t30\tIN\tAAAA\t2001:db8::9
order10.example.com.\t30\tIN\tA\t203.0.113.9
order10.example.com.\t30\tIN\tA\t203.0.113.10
order10.example.com.\t30\tIN\tAAAA\t2001:db8::9
order2.example.com.\t30\tIN\tA\t203.0.113.9
order2.example.com.\t30\tIN\tA\t203.0.113.10
order2.example.com.\t30\tIN\tAAAA\t2001:db8::9
*.order.example.com.\t30\tIN\tA\t203.0.113.9
*.order.example.com.\t30\tIN\tA\t203.0.113.10
*.order.example.com.\t30\tIN\tAAAA\t2001:db8::9
"""


def test_zone_lines_there_and_back() -> None:
    assert failover("--to", "spare", "--format", "zone").stdout == LINES
    told = failover("--to", "spare", "--format", "zone", "--write", "order.zone")
    assert told.stdout == "wrote order.zone\n"
    assert Path("order.zone").read_text() == LINES
    back = failover("--back", "--format", "zone", "--write", "order.zone")
    assert "ALIAS is no standard type" in back.stderr
    assert "ALIAS" not in told.stderr
    assert Path("order.zone").read_text() == (
        "example.com.\t60\tIN\tALIAS\tmain.example.net.\n"
        "order10.example.com.\t60\tIN\tCNAME\tmain.example.net.\n"
        "order2.example.com.\t60\tIN\tCNAME\tmain.example.net.\n"
        "*.order.example.com.\t60\tIN\tCNAME\tmain.example.net.\n"
    )


def test_a_whole_zone_is_not_written_over() -> None:
    whole = "$ORIGIN example.com.\n@ 3600 IN SOA ns. admin. 1 2 3 4 5\nwww 60 IN A 192.0.2.1\n"
    Path("db.example.com").write_text(whole)
    told = failover("--back", "--format", "zone", "--write", "db.example.com", code=exit_codes.FAILED)
    assert "db.example.com holds more than these records" in told.stderr
    assert "$INCLUDE" in told.stderr
    assert Path("db.example.com").read_text() == whole


def test_the_records_as_json() -> None:
    found = json.loads(failover("--back", "--write", "dns", "--output", "json").stdout)
    assert (found["tenant"], found["cluster"], found["ready"]) == ("order", "main", True)
    assert found["records"][0] == {
        "zone": "example.com",
        "name": "",
        "kind": "ALIAS",
        "values": ["main.example.net."],
        "ttl": 60,
    }
    assert (found["skipped_hosts"], found["written"]) == (["order.*"], ["dns/example.com.yaml"])


def test_force_writes_although_a_check_failed() -> None:
    text = Path("gateway.yaml").read_text()
    Path("gateway.yaml").write_text(text.replace("/checkout]", "/checkout2]"))
    for options in (("--write", "dns"), ("--format", "zone", "--write", "zone")):
        told = failover("--to", "spare", *options, code=exit_codes.FAILED)
        assert "is not ready for tenant 'order'; nothing was written" in told.stderr
        assert not Path(options[-1]).exists()
        failover("--to", "spare", *options, "--force")
        assert Path(options[-1]).exists()


@pytest.mark.parametrize("form", ["octodns", "zone"])
def test_what_cannot_be_written(form: str) -> None:
    Path("blocked").write_text("")
    told = failover("--back", "--format", form, "--write", "blocked/dns", code=exit_codes.FAILED)
    assert told.stderr.splitlines()[-1].startswith("kgate: cannot write blocked/dns: ")
