"""The pair behind an HTTP address, as one aligned model that every OpenAI client can ask.

    wire.py, requests.py, replies.py   what comes and goes, as pure functions
    fields.py, schemas.py, openapi.py  the same as an OpenAPI document
    voices.py                          the three models that can be asked
    bounds.py                          what requests may set
    tokenizer.py                       a model's tokens and texts
    limits.py, keys.py, metrics.py, log.py
    answers.py                         one request's work, from its body to its last byte
    playground.py, playground.html     the page at its address
    front.py, app.py, run.py           what every request goes through; the routes; the process

Needs the extra `server`, but for what is pure of it, up to `voices.py`: `nudge batch` answers the
same requests out of files.
"""
