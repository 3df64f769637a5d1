"""The paper's schedules (table 4), as files for `llpf_plugin.llpf.schedule`."""
