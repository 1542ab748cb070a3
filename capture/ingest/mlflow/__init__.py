"""MLflow: tracking directories (`mlruns`) and SQLite databases, read without MLflow.

`files.py` and `database.py` read one run at a time into `records.py`; `mapping.py` makes it events.
"""
