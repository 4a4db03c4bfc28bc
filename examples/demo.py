"""`make demo`: the talk's story on this machine, one line a step, with what was observed and a mark.

Exits with 1 when a step is not as said. The sandbox stands in for Kong here: it is a preview and test tool.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from examples.stage import ROOT, Stage, StageError

GATEWAY = str(ROOT / "baedal" / "gateway.yaml")
Step = Callable[[Stage], tuple[bool, str]]


def lint_and_sync(stage: Stage) -> tuple[bool, str]:
    stage.kgate("-f", GATEWAY, "lint")
    synced = stage.kgate("-f", GATEWAY, "sync", "--yes")
    return True, synced.stdout.strip().splitlines()[-1]


def valid_token(stage: Stage) -> tuple[bool, str]:
    answer = stage.get("/orders", stage.issuer.token("alice"))
    body = answer.json()
    return (answer.status_code, body.get("user")) == (200, "alice"), (
        f"{answer.status_code}, the front server read user={body.get('user')!r} from its passport"
    )


def no_token(stage: Stage) -> tuple[bool, str]:
    answer = stage.get("/orders")
    ok = answer.status_code == 401 and "WWW-Authenticate" in answer.headers
    return (
        ok,
        f"{answer.status_code} {answer.headers.get('Content-Type')}, reason {answer.json().get('reason')}",
    )


def forged_passport(stage: Stage) -> tuple[bool, str]:
    spellings = ("X-Passport", "X_Passport", "x-passport", "X_PASSPORT")
    seen = []
    for spelling in spellings:
        refused = stage.get("/orders", **{spelling.replace("-", "__"): "forged"})
        body = stage.get(
            "/orders", stage.issuer.token("alice"), **{spelling.replace("-", "__"): "forged"}
        ).json()
        seen.append((refused.status_code, body.get("user"), body.get("twins")))
    return all(
        row == (401, "alice", []) for row in seen
    ), f"{len(spellings)} spellings stripped, user stays alice"


def composes(stage: Stage) -> tuple[bool, str]:
    body = stage.get("/my", stage.issuer.token("alice")).json()
    return body.get("parts") == {"members": "alice", "coupons": "alice"}, (
        f"my-page asked {', '.join(body.get('parts', {}))} with the same passport"
    )


def issuer_stopped(stage: Stage) -> tuple[bool, str]:
    stage.servers.stop("issuer")
    answers = [
        stage.get("/orders", stage.issuer.token(user)).status_code for user in ("bob", "carol", "dave")
    ]
    stage.servers.start("issuer")
    return answers == [200] * 3, f"three users with new tokens: {answers}"


def block(stage: Stage) -> tuple[bool, str]:
    address, token = "203.0.113.66", stage.issuer.token("mallory")
    before = stage.get("/orders", token, ip=address).status_code
    stage.kgate("block", "add", address, "--reason", "demo", "--ttl", "10m")
    started = time.monotonic()
    status = before
    while status != 403 and time.monotonic() - started < 2:
        status = stage.get("/orders", token, ip=address).status_code
    seconds = time.monotonic() - started
    other = stage.get("/orders", token).status_code
    ok = (before, status, other) == (200, 403, 200) and seconds < 1
    return ok, f"{before} -> {status} after {seconds * 1000:.0f} ms; another address: {other}"


def office(stage: Stage) -> tuple[bool, str]:
    token = stage.issuer.token("erin")
    inside = stage.get("/stores", token, ip="192.0.2.44").json().get("server")
    outside = stage.get("/stores", token).json().get("server")
    return (inside, outside) == ("stores-test", "stores"), f"office -> {inside}, others -> {outside}"


def canary(stage: Stage) -> tuple[bool, str]:
    users = [f"user-{number}" for number in range(2000)]
    chosen = {u for u in users if stage.get("/orders", stage.issuer.token(u)).json()["server"] == "order-v2"}
    again = {
        u for u in users[:300] if stage.get("/orders", stage.issuer.token(u)).json()["server"] == "order-v2"
    }
    share = len(chosen) / len(users)
    same = again == chosen & set(users[:300])
    return 0.08 <= share <= 0.12 and same, f"{share:.1%} of 2,000 users, the same ones again: {same}"


def checkout_stopped(stage: Stage) -> tuple[bool, str]:
    stage.servers.stop("checkout")
    answer = stage.get("/checkout", stage.issuer.token("alice"))
    stage.servers.start("checkout")
    mark = answer.headers.get("X-Fallback", "")
    ok = answer.status_code == 200 and mark.startswith("pay-later") and "basket" in answer.text
    return ok, f"{answer.status_code}, X-Fallback: {mark}"


def _closed(stage: Stage, limit: float) -> tuple[bool, str]:
    """Several requests without a verdict: all 503, none reaches a front server, the first within `limit`."""
    before, token = len(stage.seen), stage.issuer.token("alice")
    seconds, statuses = [], []
    for _ in range(6):
        started = time.monotonic()
        statuses.append(stage.get("/orders", token).status_code)
        seconds.append(time.monotonic() - started)
    reached = len(stage.seen) - before
    ok = set(statuses) == {503} and reached == 0 and max(seconds) < limit and seconds[-1] < 0.1
    return ok, (
        f"{statuses[0]} after {seconds[0] * 1000:.0f} ms, then {seconds[-1] * 1000:.0f} ms; "
        f"{reached} requests reached a front server"
    )


def killed(stage: Stage) -> tuple[bool, str]:
    stage.signal_server(signal.SIGKILL)
    return _closed(stage, 0.2)


def restarted(stage: Stage) -> tuple[bool, str]:
    stage.start_server()
    return _works_again(stage)


def _works_again(stage: Stage) -> tuple[bool, str]:
    started, token, status = time.monotonic(), stage.issuer.token("alice"), 0
    while status != 200 and time.monotonic() - started < 3:
        status = stage.get("/orders", token).status_code
    return status == 200, f"{status} after {(time.monotonic() - started) * 1000:.0f} ms"


def hung(stage: Stage) -> tuple[bool, str]:
    stage.signal_server(signal.SIGSTOP)
    gate_plugins = 3  # of the order route: each waits out Kong's read timeout in the pdk lane
    return _closed(stage, 0.5 if stage.lane == "express" else 0.3 * gate_plugins + 0.2)


def continued(stage: Stage) -> tuple[bool, str]:
    stage.signal_server(signal.SIGCONT)
    return _works_again(stage)


STORY: tuple[tuple[str, Step, bool], ...] = (
    # what is shown, how, whether it needs Redis
    ("the YAML is linted and pushed", lint_and_sync, False),
    ("a valid token: the front server knows the user", valid_token, False),
    ("no token: refused", no_token, False),
    ("a forged passport header never arrives", forged_passport, False),
    ("my-page composes behind its passport", composes, False),
    ("the login server is down: users still pass", issuer_stopped, False),
    ("kgate block add: blocked within a second", block, True),
    ("the office sees the test backend", office, False),
    ("a 10% canary, sticky", canary, False),
    ("checkout is stopped: a prepared answer", checkout_stopped, False),
    ("the plugin server is killed: closed at once", killed, False),
    ("... started again: works", restarted, False),
    ("the plugin server hangs: closed", hung, False),
    ("... goes on: works", continued, False),
)


def tell(lane: str, keep: bool) -> tuple[int, int]:
    """Show the story in one lane; the numbers of steps that failed and that were not shown."""
    print(f"\nlane {lane}", flush=True)
    failed = hidden = 0
    stage = Stage(lane)
    try:
        stage.start()
        for title, step, needs_redis in STORY:
            if needs_redis and not stage.has_redis:
                hidden += 1
                print(f"  -  {title}: not shown, no Redis here", flush=True)
                continue
            try:
                ok, observed = step(stage)
            except (StageError, OSError, ValueError, KeyError) as error:
                ok, observed = False, f"{type(error).__name__}: {error}"
            failed += not ok
            print(f"  {'✓' if ok else '✗'}  {title}: {observed}", flush=True)
        if keep:
            _leave_running(stage)
    except StageError as error:
        failed += 1
        print(f"  ✗  {error}", flush=True)
    finally:
        stage.close()
    return failed, hidden


def _leave_running(stage: Stage) -> None:
    token = stage.issuer.token("alice")
    print(f"\nproxy {stage.proxy}\nadmin {stage.admin}\nrun dir {stage.run_dir}\n\nTry:")
    print(
        f"  curl -i -H 'Host: order.baedal.example' -H 'Authorization: Bearer {token}' {stage.proxy}/orders"
    )
    redis = stage.env.get("REDIS_URL", "")
    kgate = Path(sys.executable).parent / "kgate"
    print(f"  REDIS_URL={redis} {kgate} canary set order-v2 --percent 50")
    print(f"  curl -s {stage.admin}/status\n\nCtrl-C ends it.", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


def main() -> int:
    """Run the demo; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lane", choices=["pdk", "express", "both"], default="both")
    parser.add_argument("--keep", action="store_true", help="leave it running (one lane)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as with Ctrl-C: nothing is left running
    lanes = ["express", "pdk"] if args.lane == "both" else [args.lane]
    if args.keep:
        lanes = lanes[:1]
    print("kgate demo: a food-delivery shop behind one gateway; the sandbox stands in for Kong")
    try:
        results = [tell(lane, args.keep) for lane in lanes]
    except KeyboardInterrupt:
        return 130
    failed, hidden = (sum(column) for column in zip(*results, strict=True))
    print(f"\n{len(STORY) * len(lanes) - failed - hidden} steps as said, {failed} not, {hidden} not shown")
    return 1 if failed or (hidden and os.environ.get("CI")) else 0


if __name__ == "__main__":
    sys.exit(main())
