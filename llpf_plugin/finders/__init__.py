"""Methods that look for a path, one file each, all behind the interface of `llpf_plugin.finders.base`."""
