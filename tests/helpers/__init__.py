"""What tests share: the console commands, tasks as files, and files that no program wrote."""
