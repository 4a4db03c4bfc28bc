"""The store's calls from before records: thin, for callers that have not moved to the operations yet."""

from __future__ import annotations

from kong_plugins.state.base import Block, CanaryOverride, Conflict, Snapshot, Store, StoreError
from kong_plugins.state.canaries import override_of, override_record
from kong_plugins.state.records import Delete, Put
from kong_plugins.state.snapshot import build
from kong_plugins.state.targets import block_key, block_of, block_record, row_blocks


class LegacyCalls:
    """Mixed into the stores; goes away as a whole."""

    def load_snapshot(self: Store) -> Snapshot:
        dump = self.load()
        try:
            blocks = [block_of(record)._replace(version=0) for record in dump.records["blocks"]]
            for source in dump.records["sources"]:
                blocks += row_blocks(source, dump.bulk[source.data["bulk"]])
            canaries = [override_of(record) for record in dump.records["canaries"]]
        except ValueError as error:
            raise StoreError(f"{self.address}: {error}") from error
        return build(dump.version, blocks, canaries)

    def add_block(self: Store, block: Block) -> int:
        return self.apply([Put(block_record(block))])

    def remove_block(self: Store, kind: str, value: str) -> bool:
        try:
            record = self.get("blocks", block_key(kind, value))
            if record is None:
                return False
            self.apply([Delete("blocks", record.key, record.version)])
        except Conflict:
            return False
        return True

    def list_blocks(self: Store) -> list[Block]:
        return [block_of(record)._replace(version=0) for record in self.records("blocks")]

    def set_canary(self: Store, override: CanaryOverride, if_version: int | None = None) -> CanaryOverride:
        if if_version is None:
            current = self.get("canaries", override.name)
            if_version = 0 if current is None else current.version
        try:
            self.apply([Put(override_record(override), if_version)])
        except Conflict as error:
            raise Conflict(str(error).replace("canaries ", "canary ", 1), error.current) from error
        return override._replace(version=if_version + 1)

    def get_canary(self: Store, name: str) -> CanaryOverride | None:
        record = self.get("canaries", name)
        return None if record is None else override_of(record)

    def list_canaries(self: Store) -> list[CanaryOverride]:
        return [override_of(record) for record in self.records("canaries")]
