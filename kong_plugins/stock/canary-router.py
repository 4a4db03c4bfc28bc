"""canary-router as a plain kong-pdk plugin, for kong-python-pluginserver --plugins-directory."""

from kong_plugins.server.stock import plugin_class, priority_of, schema_of, version_of

Plugin = plugin_class("canary-router")
Schema = schema_of("canary-router")
version = version_of("canary-router")
priority = priority_of("canary-router")
