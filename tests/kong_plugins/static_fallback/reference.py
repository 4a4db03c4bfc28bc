"""A slow and obviously right breaker: keeps every result for ever and counts anew at each step."""

from __future__ import annotations

from kong_plugins.static_fallback.breaker_config import BreakerConfig


class Reference:
    """The documented meaning, written as it is said."""

    def __init__(self, config: BreakerConfig, now: float) -> None:
        self.config, self.state, self.since, self.until, self.openings = config, "closed", now, 0.0, 0
        self.results: list[tuple[float, bool, bool]] = []
        self.told = False

    def _window(self) -> list[tuple[float, bool, bool]]:
        if self.state == "half_open":
            return self.results[-self.config.permits :]
        if self.config.window == "count":
            return self.results[-self.config.size :]
        newest = max((int(at) for at, _, _ in self.results), default=0)
        return [each for each in self.results if int(each[0]) > newest - self.config.size]

    def tick(self, now: float) -> None:
        if self.state == "open" and now >= self.until:
            self.state, self.since, self.results = "half_open", now, []

    def record(self, failed: bool, slow: bool, began: float, now: float, trial: bool) -> None:
        config = self.config
        if self.state == "open":
            return
        if self.state == "half_open" and not trial:
            return
        if self.state == "closed" and (trial or began < self.since):
            return
        self.results.append((now, failed, slow))
        window = self._window()
        if self.state == "half_open":
            needed = min(config.minimum_calls, config.permits)
        elif config.window == "count":
            needed = min(config.minimum_calls, config.size)
        else:
            needed = config.minimum_calls
        if len(window) < needed:
            return
        failures = sum(failed for _, failed, _ in window)
        slows = sum(slow for _, _, slow in window)
        bad = 100 * failures >= config.failure_rate * len(window) or 100 * slows >= config.slow_rate * len(
            window
        )
        if self.state == "half_open" and not bad:
            self.state, self.since, self.openings, self.results = "closed", now, 0, []
        elif bad and config.mode == "on":
            self.state, self.since = "open", now
            self.openings += 1
            seconds = config.open_seconds
            for _ in range(self.openings - 1):
                seconds = min(seconds * config.open_growth, max(config.open_max, config.open_seconds))
            self.until = now + min(seconds, max(config.open_max, config.open_seconds))
