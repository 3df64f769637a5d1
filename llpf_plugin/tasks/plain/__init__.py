"""Tasks on data as people have them: a folder of images, a table."""
