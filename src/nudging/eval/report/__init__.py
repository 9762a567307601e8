"""Runs as one HTML page, and their figures as tables.

    gather.py           runs, read once: cells, counts, samples
    counts.py           where nudges fall, what they say, how sure the base model was
    samples.py          answers as short lines, which the page reads one at a time
    tables.py           figures for people, for spreadsheets, for documents
    svg.py, charts.py   how a plot is written; the plots
    html_page.py        the page, with report.css and report.js

All that it shows is in the lines of a run.
"""
