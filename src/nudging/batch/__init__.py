"""Answers to the rows of a file, however many there are and whatever stops the work.

    row.py                   what a row asks, and its result
    jsonl.py, parquet.py     rows in files, read and written a few at a time
    files.py                 which of the two, by a file's name
    answer.py, openai_requests.py
                             the result of a prompt; of a request in OpenAI's batch format
    row_options.py           the options of all rows
    work_folder.py           the results so far, which survive a crash
    join.py                  rows and results together, as one file
    job.py                   all of it at work
    parts.py, answer_part.py, parts_folder.py, cluster.py
                             the same in parts, on a cluster

A row is known by its position in the file. Nothing holds all rows, and no result is in memory
alone.
"""
