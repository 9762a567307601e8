"""The pair behind an HTTP address, as one aligned model that every OpenAI client can ask.

    asgi_app.py, middleware.py         the routes, and what every request passes before them
    answer_endpoint.py                 one request's work, from its body to its last byte
    answer_queue.py                    permits for answers at work, and who waits for one
    request_body.py, json_http.py      bodies and events, as bytes
    request_reader.py, unsupported.py  a request, understood or refused
    bounds.py                          what requests may set
    served_models.py                   the three models that can be asked
    completion_serializer.py, response_serializer.py, openai_errors.py
                                       answers and errors, in OpenAI's two APIs
    tokenizer_routes.py                a model's tokens and texts
    openapi.py, *_schemas.py           all of this as an OpenAPI document
    playground.py, playground.html     the page at the server's address
    api_keys.py, metrics.py, log.py    who may ask; figures; a line for each request
    uvicorn_server.py, on_ray.py       the process: our own, or a replica of Ray Serve

Needs the extra `server`, but for what is pure of it, up to `served_models.py`: `nudge batch`
answers the same requests out of files.
"""
