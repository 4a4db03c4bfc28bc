"""What a real Kong 3.9.3 does and the sandbox does not, or not so: with the reason.

A behaviour that is known and neither here nor in a case file is a bug of the suite.
"""

from __future__ import annotations

from typing import NamedTuple


class Missing(NamedTuple):
    """area: as the folders of the cases. what: the behaviour. instead: what the sandbox does, and why."""

    area: str
    what: str
    instead: str


NOT_THERE = (
    # the node
    Missing("node", "The Lua plugins of the distribution other than cors, key-auth and request-termination",
            "Refused as Kong refuses a plugin that is not enabled. It is no second Kong."),
    Missing("node", "TLS, HTTP/2, gRPC (and its error bodies) and TCP/UDP listeners, `stream_listen`",
            "Plain HTTP/1.1 listeners only: what is previewed runs behind a load balancer."),
    Missing("node", "The status listener (`status_listen`) with /metrics",
            "Its /status and /status/ready are answered by the Admin API, so that a node can be probed there."),
    Missing("node", "/timers, /cache, /debug, /certificates/.../upstreams, filter chains, Kong Manager; "
            "/endpoints lists what is there",
            "404: nothing in kgate asks for them."),
    Missing("node", "Memory of shared dictionaries, connection counts and timers at / and /status",
            "The keys are there, empty or zero: there is no nginx."),
    Missing("node", "KONG_HEADERS, KONG_HEADERS_UPSTREAM and other nginx directives from the environment",
            "Ignored, as unknown variables are: the headers are always there."),
    Missing("node", "Router flavours `traditional` and `expressions`",
            "Always traditional_compatible, Kong's default."),
    Missing("node", "`kong reload`, workers that restart",
            "A new process starts instead; POST /config or --watch loads another configuration."),
    # the Admin API
    Missing("admin-dbless", "The configuration is kept in LMDB over a restart",
            "Nothing is kept: a new process starts empty, or with the file of KONG_DECLARATIVE_CONFIG."),
    Missing("admin-dbless", "The texts of libyaml, PCRE2 and OpenSSL inside of error messages",
            "The same place and the same words around; the library's own text is Python's."),
    Missing("admin-dbless", "The order of keys in GET /config, of rows of an entity's children in `flattened_errors`",
            "Sorted: Kong's order is that of a Lua table and changes from run to run."),
    Missing("admin-dbless", "What Kong finds when it looks a second time at a configuration that is wrong already: "
            "references by a name to nothing, lists for records, children of an entity that is wrong itself",
            "The first error is there, that of the second look is not always: 400 in any case."),
    Missing("admin-dbless", "The picture that the router's parser draws (`... failed validation: --> 1:2 ...`)",
            "The same start and the same reason, with the pattern for the picture; regular expressions of the crate "
            "`regex` that Python has not (`\\p{L}`, `a{2}{3}`) are refused."),
    Missing("admin-dbless", "End points of credentials are there only when their plugin is enabled",
            "Always there, as on a Kong with `plugins = bundled`."),
    Missing("admin-dbless", "Several violations of values that are of another type altogether (a list for "
            "`algorithm`: 500; a number for `username` counts as given; a list for `ttl` is taken)",
            "400, and one violation more or less in the text."),
    Missing("admin-db", "`entity_checks` of /schemas/KIND, and the schemas of the sandbox's own thin plugins",
            "An empty list; the fields are Kong's."),
    Missing("admin-db", "500 for /upstreams/U/targets/all of an upstream that is not there, for names that are no "
            "UTF-8 below an entity; `bad base64 encoding` of some offsets; lists in form bodies without `[]`",
            "404; `bad json encoding`; the text is no list."),
    Missing("admin-db", "Writes to /tags and /tags/TAG (400, 405 or 500), a list of records for a body",
            "405 or 404: nothing can be written there; the list's items are passed over."),
    Missing("admin-db", "Which of two errors comes first: a method that is not allowed, a body that cannot be read",
            "The body, at entities that are there."),
    Missing("admin-dbless", "413 for a configuration that does not fit into LMDB, 429 while another one is loading",
            "Memory has no such limit, and loading is not interrupted."),
    Missing("admin-dbless", "/tags over all kinds in pages of one kind each",
            "One page, sorted by id. /tags/NAME is 500, as on Kong, which answers 200 now and then."),
    Missing("admin-db", "A database server, several nodes on it, cluster events and caches",
            "Kept in memory and gone with the process; KONG_DATABASE=postgres only chooses the mode."),
    Missing("admin-db", "Up to five seconds until a write reaches the proxy, router and plugins apart",
            "KONG_SANDBOX_PROPAGATION, 50 ms by default, for all at once: tests need not wait."),
    Missing("admin-db", "`Upstream ... has no balancer` for a health that is set before workers know the upstream",
            "204: the health is known at once."),
    Missing("admin-db", "PUT of a key set by its name (500 in Kong), checks of JWKs, workspaces, consumer groups",
            "Keys are checked for being there only; the rest is Enterprise or a bug."),
    Missing("admin-db", "Expiry of key-auth credentials (`ttl`)",
            "The field is kept and nothing expires."),
    Missing("hybrid", "Real data planes, their protocol, certificates and sync errors",
            "A control plane (KONG_ROLE=control_plane) shows invented data planes whose hash follows."),
    # proxying
    Missing("proxying", "Trusted addresses, real-IP headers and limits of the body, which need other settings",
            "There, and tested on the sandbox alone (tests/sandbox/test_proxy.py): the suite runs with one setting."),
    Missing("proxying", "Buffering to disk, `response_buffering`, proxy caches, compression",
            "Bodies stream; the fields are kept."),
    Missing("proxying", "Several Accept or Expect headers, `TE` twice in a request that upgrades: which one counts",
            "The last of the Accept headers counts for the kind of an error's body; `TE: trailers` is kept."),
    Missing("upstreams", "Connect timeouts of a full backlog, TLS to upstreams with client certificates",
            "Connect timeouts are there and tested on the sandbox alone; https is not verified."),
    Missing("upstreams", "DNS with SRV records, TTLs and round robin over addresses",
            "The resolver of the machine, its first address."),
    Missing("upstreams", "The tables of consistent hashing of every upstream and the `latency` algorithm's figures",
            "The same hash; which target a value meets is not promised to be Kong's."),
    # plugins
    Missing("phases", "pre-function and post-function: their Lua sandbox, upvalues and globals",
            "Lua plugins from KONG_LUA_PACKAGE_PATH run instead; the facts on phases are tested with one of these."),
    Missing("phases", "kong.service.request.set_body and set_raw_body, kong.service.response.get_body for forms",
            "They raise, or give nil and say so: no plugin of kgate changes bodies. JSON is read."),
    Missing("phases", "ngx.exec, ngx.location.capture, references to vaults",
            "An error that names the function; a reference is a text."),
    Missing("phases", "Functions that a plugin puts on the PDK's tables and a plugin server then calls",
            "Each is looked up anew; Kong caches the first one for ever."),
    Missing("phases", "The `preread`, `certificate` and `ws_*` phases", "There is no such traffic."),
    Missing("rpc", "Several workers, each with instances and message ids of its own",
            "Tested on the sandbox alone: a real Kong of the suite has one worker."),
    Missing("rpc", "Ten and sixty seconds of waiting for an instance that hangs",
            "There, and not in a case: the suite sets KONG_NGINX_PROXY_LUA_SOCKET_READ_TIMEOUT to 400 ms."),
    Missing("rpc", "A socket that is away, a server that comes back, requests in parallel to a cold instance",
            "Tested on the sandbox alone (tests/sandbox/test_plugin_rpc.py)."),
    Missing("rpc", "The order of keys in MessagePack maps", "Python's; Kong's is random."),
    Missing("rpc", "`start_cmd` of plugin servers", "Servers are started from outside, as `kgate serve` is."),
    Missing("plugins", "Which of many plugins of the distribution answers first",
            "The order of the three that are there, and of Lua and external plugins, follows their priorities."),
)  # fmt: skip
