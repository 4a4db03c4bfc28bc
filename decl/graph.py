"""Work over a dependency graph: what depends on nothing unfinished runs, on a few threads.

There is no barrier between kinds of entities: a route is written as soon as its own service is there.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from decl.change import Change
from decl.kinds import KINDS


def dependencies(changes: Sequence[Change]) -> list[set[int]]:
    """For each change the indices of those that must be done before it.

    An entity comes after what it refers to, a deleted one after what referred to it, and one that takes a
    unique name after the one that gives it away.
    """
    made = {(c.kind, c.id): n for n, c in enumerate(changes) if c.action == "create"}
    deleted = {(c.kind, c.id): n for n, c in enumerate(changes) if c.action == "delete"}
    taken: dict[tuple[str, int, Any], int] = {}
    for number, change in enumerate(changes):
        kept = unique_keys(change.kind, change.body)
        for group, key in unique_keys(change.kind, change.before):
            if (group, key) not in kept:
                taken[change.kind, group, key] = number
    needs: list[set[int]] = [set() for _ in changes]
    for number, change in enumerate(changes):
        for parent in references(change.kind, change.body):
            if parent in made:
                needs[number].add(made[parent])
        for parent in references(change.kind, change.before):
            if parent in deleted:
                needs[deleted[parent]].add(number)
        for group, key in unique_keys(change.kind, change.body) if taken else ():
            holder = taken.get((change.kind, group, key))
            if holder is not None:
                needs[number].add(holder)
    for number, own in enumerate(needs):
        own.discard(number)
    return needs


def references(kind: str, entity: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What an entity refers to: kind and id."""
    if entity is None:
        return []
    found = []
    for field, parent in KINDS[kind].refs.items():
        value = entity.get(field)
        if isinstance(value, Mapping):
            found.append((parent, str(value.get("id"))))
    return found


def unique_keys(kind: str, entity: Mapping[str, Any] | None) -> list[tuple[int, Any]]:
    """The values that no other entity of the kind may have: which group of fields, and what stands there."""
    if entity is None:
        return []
    found = []
    for number, group in enumerate(KINDS[kind].unique):
        values = tuple(
            value.get("id") if isinstance(value, Mapping) else value
            for value in (entity.get(name) for name in group)
        )
        if len(group) > 1 or values[0] is not None:
            found.append((number, values))
    return found


def reversed_needs(needs: Sequence[set[int]]) -> list[set[int]]:
    """The same graph walked backwards, for undoing."""
    out: list[set[int]] = [set() for _ in needs]
    for number, own in enumerate(needs):
        for other in own:
            out[other].add(number)
    return out


def run(needs: Sequence[set[int]], do: Callable[[int], bool], workers: int) -> None:
    """Call do(index) for each node when all that it needs has returned true.

    After the first False nothing more is started; what runs is waited for. What stands in a circle is never
    started. Raises what `do` raises, the first of them.
    """
    waiting = [len(own) for own in needs]
    followers: dict[int, list[int]] = defaultdict(list)
    for number, own in enumerate(needs):
        for other in own:
            followers[other].append(number)
    ready = deque(number for number, count in enumerate(waiting) if not count)
    state = threading.Condition()
    running, idle, stopped = 0, 0, False
    errors: list[BaseException] = []

    def work() -> None:
        nonlocal running, idle, stopped
        done: int | None = None
        good = False
        while True:
            # one turn of the lock for what was done and what comes next: it is asked for thousands of times
            with state:
                if done is not None:
                    running -= 1
                    stopped = stopped or not good
                    if good:
                        for follower in followers.get(done, ()):
                            waiting[follower] -= 1
                            if not waiting[follower]:
                                ready.append(follower)
                if idle and (len(ready) > 1 or not running or stopped):
                    state.notify_all()
                while not ready and running and not stopped:
                    idle += 1
                    state.wait()
                    idle -= 1
                if stopped or not ready:
                    state.notify_all()
                    return
                done = ready.popleft()
                running += 1
            good = False
            try:
                good = do(done)
            except BaseException as error:  # noqa: BLE001 # raised again in the caller's thread
                errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, len(needs)))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException:
        with state:
            stopped = True
        for thread in threads:
            thread.join()
        raise
    if errors:
        raise errors[0]
