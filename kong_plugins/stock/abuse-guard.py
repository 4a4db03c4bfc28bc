"""abuse-guard as a plain kong-pdk plugin, for kong-python-pluginserver --plugins-directory."""

from kong_plugins.server.stock import plugin_class, priority_of, schema_of, version_of

Plugin = plugin_class("abuse-guard")
Schema = schema_of("abuse-guard")
version = version_of("abuse-guard")
priority = priority_of("abuse-guard")
