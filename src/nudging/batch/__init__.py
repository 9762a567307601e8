"""Answers to the rows of a file, however many there are and whatever stops the work.

    rows.py                  what a row asks, and what has come of it
    jsonl.py, parquet.py     rows in files, read and written a few at a time
    files.py                 which of the two, by a file's name
    answer.py, requests.py   a row's answer: of a prompt, of a request in OpenAI's batch format
    store.py                 what has come so far, kept through any kill
    join.py                  the rows and what has come of them, as one file
    run.py                   all of it put to work

A row is known by its place in the file. Nothing holds all rows, and nothing a row has come to is
held in memory alone.
"""
