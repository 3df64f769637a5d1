"""The paper's schedules (tables 4 and 5), as files for `llpf_plugin.llpf.schedule`."""
