import pytest

from decl import dns
from decl.model import Cluster, Tenant


def tenant(*hosts: str, **zone: object) -> Tenant:
    return Tenant("t", (), hosts=hosts, dns=zone)


def cluster(**fields: object) -> Cluster:
    return Cluster("c", (), dns=fields)


@pytest.mark.parametrize(
    ("owner", "where", "lines"),
    [
        (tenant("a.example.com"), cluster(cname="x.net"), ["a.example.com.\t60\tIN\tCNAME\tx.net."]),
        (tenant("example.com"), cluster(cname="x.net."), ["example.com.\t60\tIN\tALIAS\tx.net."]),
        (tenant("*.a.example.com:8443"), cluster(cname="x.net"), ["*.a.example.com.\t60\tIN\tCNAME\tx.net."]),
        (
            tenant("A.example.co.uk", zone="example.co.uk", ttl=5),
            cluster(addresses=["2001:DB8::1", "192.0.2.1", "192.0.2.2"], ttl=30),
            [
                "a.example.co.uk.\t5\tIN\tA\t192.0.2.1",
                "a.example.co.uk.\t5\tIN\tA\t192.0.2.2",
                "a.example.co.uk.\t5\tIN\tAAAA\t2001:db8::1",
            ],
        ),
        (tenant("a.*"), cluster(cname="x"), []),
    ],
)
def test_zone_lines(owner: Tenant, where: Cluster, lines: list[str]) -> None:
    assert dns.zone_lines(dns.records(owner, where)[0]) == lines


@pytest.mark.parametrize(
    ("owner", "where", "message"),
    [
        (tenant("a.b"), cluster(), "must say dns.cname or dns.addresses"),
        (tenant("a.b"), cluster(cname="x", addresses=["192.0.2.1"]), "one of them"),
        (tenant("a.b"), cluster(addresses=["192.0.2"]), "dns.addresses: '192.0.2' does not appear"),
        (tenant("a.example.com", zone="other.com"), cluster(cname="x"), "is not in zone 'other.com'"),
        (tenant("badexample.com", zone="example.com"), cluster(cname="x"), "is not in zone"),
    ],
)
def test_what_cannot_be_written(owner: Tenant, where: Cluster, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dns.records(owner, where)


def test_octodns_there_and_back() -> None:
    owner = tenant("a.example.com")
    there, _ = dns.records(owner, cluster(addresses=["192.0.2.1", "192.0.2.2", "2001:db8::1"]))
    back, _ = dns.records(owner, cluster(cname="x.net"))
    start = {
        "example.com": {
            "z": {"type": "TXT", "value": "t"},
            "a": {"type": "CNAME", "value": "x.net.", "ttl": 60},
        }
    }
    moved = dns.octodns(there, start)
    assert [entry["type"] for entry in moved["example.com"]["a"]] == ["A", "AAAA"]
    assert moved["example.com"]["a"][0]["values"] == ["192.0.2.1", "192.0.2.2"]
    assert dns.octodns(back, moved) == {"example.com": dict(sorted(start["example.com"].items()))}


def test_names_in_the_order_of_octodns() -> None:
    """As natsort has them, by which OctoDNS looks."""
    names = ["a10", "*", "2", "", "a2", "10", "a", "_x", "a2.b", "b.a", "a-1", "a02b", "A3"]
    there, _ = dns.records(tenant("new.example.com"), cluster(cname="x.net"))
    zone = {"example.com": {name: {"type": "TXT", "value": "t"} for name in names}}
    assert list(dns.octodns(there, zone)["example.com"]) == [
        "", "2", "10", "*", "A3", "_x", "a", "a2", "a2.b", "a02b", "a10", "a-1", "b.a", "new",
    ]  # fmt: skip
