"""Runs on several machines: tasks of a Dask scheduler, pixels on storage that all of them see."""
