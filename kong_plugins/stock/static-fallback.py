"""static-fallback as a plain kong-pdk plugin, for kong-python-pluginserver --plugins-directory."""

from kong_plugins.server.stock import plugin_class, priority_of, schema_of, version_of

Plugin = plugin_class("static-fallback")
Schema = schema_of("static-fallback")
version = version_of("static-fallback")
priority = priority_of("static-fallback")
