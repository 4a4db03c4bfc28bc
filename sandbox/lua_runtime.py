"""The LuaJIT state of the sandbox: one "Kong worker". Everything Lua goes through here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lupa.luajit21 import LuaError, LuaRuntime

from sandbox.cosocket import Pool
from sandbox.exchange import Exchange
from sandbox.host import Host
from sandbox.lua_sockets import socket_functions
from sandbox.lua_values import Converter, from_text
from sandbox.semaphore import Semaphore
from sandbox.settings import Settings
from sandbox.shared_dict import SharedDicts

log = logging.getLogger("sandbox")
LUA_DIR = Path(__file__).parent / "lua"
_LAST_SECONDS = 1.0


class PluginLoadError(ValueError):
    """A plugin of KONG_PLUGINS that cannot be loaded; Kong does not start either."""


class Lua:
    """Holds the runtime, loads plugins, and drives coroutines that wait for I/O."""

    def __init__(
        self,
        settings: Settings,
        node_id: str,
        number: int = 0,
        workers: int = 1,
        dicts: SharedDicts | None = None,
    ) -> None:
        self.runtime = LuaRuntime(encoding="latin-1", unpack_returned_tuples=True, register_eval=False)
        self.pool = Pool()
        self._timers: set[asyncio.Task[None]] = set()
        self._pending: dict[int, tuple[asyncio.TimerHandle, bool]] = {}
        self._threads: dict[int, asyncio.Task[None]] = {}
        self.host = Host(settings, self.runtime.table, node_id, number, workers)
        null = self.runtime.eval("newproxy()")
        self.values = self.host.values = Converter(self.runtime, null)
        path = f"{LUA_DIR}/?.lua;" + settings.lua_package_path.replace(
            ";;", f";{self.runtime.eval('package.path')};"
        )
        functions: dict[str, Callable[..., Any]] = {
            **self.host.functions(),
            **socket_functions(self.pool, settings),
            "timer": self._timer,
        }
        functions |= {"shm": (dicts or SharedDicts()).call, **self._thread_functions()}
        # chosen by the external plugins' driver when there is one
        self.external: Callable[..., Any] | None = None
        functions["external_log"] = lambda *args: self.external_log and self.external_log(*args)
        self.external_log: Callable[..., None] | None = None
        boot = self.runtime.execute(f"return loadfile('{LUA_DIR}/shim/boot.lua')")
        self.runloop, array_mt, empty_array_mt = boot(self.runtime.table_from(functions), null, path)
        helpers = self.runtime.eval(
            "function(a, b) return function(t) return setmetatable(t, a) end,"
            " function(t) local m = getmetatable(t) return m ~= nil and (m == a or m == b) end end"
        )
        self.values.set_array_marks(*helpers(array_mt, empty_array_mt))
        self._resume = self.runloop["resume"]
        self._call_pdk, self._resume_pdk = self.runloop["call_pdk"], self.runloop["resume_pdk"]
        self._new = self.runloop["new"]
        self._output = self.runloop["output"]
        self._fire = self.runloop["fire"]
        self._ops: dict[str, Callable[..., Any]] = {
            "connect": lambda s, host, port, pool: s.connect(host, None if port is None else int(port)),
            "flush": lambda s: s.flush(),
            "read": lambda s, pattern, n: s.wait_read(pattern, n),
            "sleep": self._sleep,
            "read_body": self._read_body,
            "semaphore": lambda s, seconds: s.wait(seconds),
            "threads": self._wait_threads,
        }

    # -- loading -----------------------------------------------------------------------------------------
    def require(self, module: str) -> Any | None:
        """A module of the Lua path; None when no file is there. Raises PluginLoadError on a broken one."""
        found = self.runtime.eval("function(m) return (package.searchpath(m, package.path)) end")(module)
        if found is None:
            return None
        try:
            return self.runtime.eval("function(m) return (require(m)) end")(module)
        except LuaError as e:
            raise PluginLoadError(f"{module}: {e}") from e

    def define_external(self, name: str, priority: int, version: str, phases: list[str]) -> None:
        """An external plugin; its handler waits for `external`."""
        handler = self.runloop["external"](name, self.runtime.table(*phases))
        self.runloop["define"](name, priority, version, handler)

    def define(self, name: str, handler: Any) -> None:
        """A Lua plugin by its handler table."""
        if handler["PRIORITY"] is None:
            raise PluginLoadError(f"plugin {name}: no PRIORITY in its handler")
        self.runloop["define"](name, handler["PRIORITY"], handler["VERSION"], handler)

    def limit(self, name: str, scope: str) -> None:
        """The plugin's schema allows no instance of this scope (`route`, `service` or `consumer`)."""
        self.runloop["limit"](name, scope)

    def start(self) -> None:
        """All plugins are defined: order them and run their init_worker."""
        self.runloop["sort"]()
        self.runloop["init_worker"]()

    def configure(self, instances: list[tuple[str, dict[str, str | None], Any]]) -> None:
        """New plugin instances: (name, scope ids, conf table)."""
        rows = [
            self.runtime.table_from({"name": name, "conf": conf, **{k: v for k, v in scope.items() if v}})
            for name, scope, conf in instances
        ]
        self.runloop["configure"](self.runtime.table(*rows))

    # -- phases --------------------------------------------------------------------------------------------
    def context(self, exchange: Exchange) -> Any:
        """The Lua side of one request."""
        return self._new(exchange)

    def mark(self, r: Any, name: str) -> None:
        """Set a flag on ngx.ctx, as Kong's core does."""
        r["ctx"][name] = True

    def tried(self, r: Any, count: int) -> None:
        """Say in ngx.ctx how many times the balancer has tried."""
        r["ctx"]["balancer_data"]["try_count"] = count

    def consumer_id(self, r: Any) -> str | None:
        """The id of the consumer that a plugin authenticated."""
        consumer = r["ctx"]["authenticated_consumer"]
        return None if consumer is None else str(consumer["id"])

    def log_record(self, r: Any) -> Mapping[str, Any]:
        """What kong.log.serialize gives at the end of a request."""
        record = self.values.to_python(self.runloop["record"](r))
        return record if isinstance(record, dict) else {}

    async def run(self, r: Any, phase: str, *args: Any) -> str:
        """Run rewrite or access to its end: `done`, `exit` (an answer stands on the exchange) or `error`."""
        return await self._settle(r, self.runloop[phase](r, *args))

    def output(self, r: Any, phase: str) -> bool:
        """Run header_filter or log; False at an error."""
        return bool(self._output(r, phase))

    async def read_body(self, r: Any) -> None:
        """Read the request's body, so that PDK calls about it need not wait."""
        x = r["x"]
        if x is not None and x.body_seen is None:
            await self._read_body(x)

    def buffers(self, r: Any) -> bool:
        """Whether a plugin of the request wants the upstream's answer whole."""
        return bool(self.runloop["buffers"](r))

    def filters_body(self, r: Any) -> bool:
        """Whether any plugin of the request wants to see the body."""
        return bool(self.runloop["has_body_filter"](r))

    def body_filter(self, r: Any, part: bytes, last: bool) -> bytes | None:
        """One part of the body through the plugins; None at an error."""
        out = self.runloop["body_filter"](r, part.decode("latin-1"), last)
        return None if out is False else str(out).encode("latin-1")

    async def pdk(self, r: Any, plugin: str, conf: Any, method: str, args: list[Any]) -> tuple[str, Any]:
        """A PDK call for an external plugin: `ok`, `packed` (MessagePack), `missing`, `raise`, `exit` or `left`
        (the function yielded), and the result."""
        lua_args = self.runtime.table()
        for i, arg in enumerate(args, 1):
            if arg is not None:
                lua_args[i] = self.values.to_lua(arg)
        result = self._call_pdk(r, plugin, conf, method, lua_args, len(args))
        while isinstance(result, tuple) and result[0] == "wait":
            op, *what = result[1:]
            result = self._resume_pdk(r, *(await self._ops[op](*what)))
        return result if isinstance(result, tuple) else (result, None)

    async def _settle(self, r: Any, result: Any, resume: Callable[..., Any] | None = None) -> str:
        resume = resume or self._resume
        while True:
            if not isinstance(result, tuple):
                return str(result)
            if result[0] != "wait":
                return str(result[0])
            op, *args = result[1:]
            if op == "external":
                assert self.external is not None
                answer = await self.external(*args)
            elif op in self._ops:
                answer = await self._ops[op](*args)
            else:
                # a plain coroutine.yield of a plugin, outside any coroutine of its own
                answer = ()
            result = resume(r, *answer)

    @staticmethod
    async def _sleep(seconds: float) -> tuple[Any, ...]:
        await asyncio.sleep(seconds)
        return ()

    @staticmethod
    async def _read_body(x: Exchange) -> tuple[Any, ...]:
        assert x.replay is not None
        x.body_seen = await x.replay.small()
        return (x.body_seen,)

    # -- light threads -----------------------------------------------------------------------------------------
    def _thread_functions(self) -> dict[str, Callable[..., Any]]:
        return {
            "thread": self._start_thread,
            "thread_kill": self._kill_thread,
            "sema_new": lambda count: Semaphore(int(count)),
            "sema_post": lambda s, count: s.post(int(count)),
            "sema_take": lambda s: s.take(),
            "sema_count": lambda s: s.count,
        }

    def _start_thread(self, number: int) -> None:
        task = asyncio.get_running_loop().create_task(self._run_thread(number))
        self._threads[number] = task
        task.add_done_callback(lambda _: self._threads.pop(number, None))

    async def _run_thread(self, number: int) -> None:
        t, *pending = self.runloop["thread_pending"](number)
        if t is not None:
            try:
                await self._settle(t, tuple(pending), self.runloop["thread_resume"])
            finally:
                self.runloop["thread_lost"](number, "failed")  # no effect on one that has ended

    def _kill_thread(self, number: int) -> None:
        task = self._threads.get(number)
        if task is not None:
            task.cancel()

    async def _wait_threads(self, *numbers: int) -> tuple[Any, ...]:
        tasks = [self._threads.get(int(number)) for number in numbers]
        running = [task for task in tasks if task is not None]
        if len(running) == len(tasks):
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        return ()

    # -- sockets and timers ----------------------------------------------------------------------------------
    def _timer(self, delay: float, again: bool, number: int) -> None:
        loop = asyncio.get_running_loop()

        def fire() -> None:
            del self._pending[number]
            self.spawn(self._run_timer(number, again))
            if again and not self.host.stopping:
                self._timer(delay, again, number)

        self._pending[number] = (loop.call_later(max(delay, 0), fire), again)

    def spawn(self, work: Any) -> asyncio.Task[None]:
        """Run a coroutine beside the requests; it ends with the sandbox."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._timers.add(task)
        task.add_done_callback(self._timers.discard)
        return task

    async def _run_timer(self, number: int, again: bool, premature: bool = False) -> None:
        r, *result = self._fire(number, again, premature)
        await self._settle(r, tuple(result))

    async def close(self) -> None:
        """Run what timers are left, prematurely, as a worker does at its end; close pooled connections."""
        self.host.stopping = True
        pending, self._pending = self._pending, {}
        last = []
        for number, (handle, again) in pending.items():
            handle.cancel()
            last.append(self.spawn(self._run_timer(number, again, premature=True)))
        if last:
            await asyncio.wait(last, timeout=_LAST_SECONDS)
        rest = [*self._timers, *self._threads.values()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        self.pool.close()


def lua_text(value: Any) -> str:
    """Text that came from Lua as real text."""
    return from_text(value) if isinstance(value, str) else str(value)
