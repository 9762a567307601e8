"""The laboratory's experiments: what is asked, what is claimed, and whether it holds.

    cells.py       one way to answer one sheet of questions: a run of `nudge eval`
    ask.py         many of them asked, a few at a time; what is there is not asked again
    read.py        what came: records, means with intervals, paired differences
    claims.py      statements about figures, and the rule by which a claim holds
    plots.py       pictures
    altered.py     models made surer than they are
    main_table.py, pairs.py, gamma.py, settings.py, triggers.py, choice.py, rivals.py, agreement.py,
    ahead.py, assumptions.py
                   an experiment a file: its cells, and what it finds in them

`python -m lab.results` does all of it.
"""
