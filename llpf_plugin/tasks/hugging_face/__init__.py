"""Tasks for folders that ``save_pretrained`` wrote: network, tokenizer and image processor come from the folder.

Nothing is downloaded, and no code of a folder is run. The packages are imported when a task is built.
"""
