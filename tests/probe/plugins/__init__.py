"""The SDK of plugins, and the plugins that come with it."""
