"""passport as a plain kong-pdk plugin, for kong-python-pluginserver --plugins-directory."""

from kong_plugins.server.stock import plugin_class, priority_of, schema_of, version_of

Plugin = plugin_class("passport")
Schema = schema_of("passport")
version = version_of("passport")
priority = priority_of("passport")
