"""The conversation of openai-client-script.ts with the PyPI client.

usage: openai_client.py BASE_URL MODEL; prints one line of JSON with the steps that ran, exits 1 on the first that fails.
"""

import json
import sys

import openai

base_url, model = sys.argv[1:3]
client = openai.OpenAI(base_url=base_url, api_key="sk-local", max_retries=0, timeout=120)
settings = {
    "model": model,
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Name three colours of the rainbow."},
    ],
    "seed": 7,
    "max_completion_tokens": 24,
    "temperature": 0.8,
}


def check(fact, what):
    if not fact:
        raise AssertionError(what)


def chat(**wishes):
    return client.chat.completions.create(**{**settings, **wishes})


def models():
    check(model in [one.id for one in client.models.list()], "the model is listed")
    check(client.models.retrieve(model).id == model, "the model is found")


def chat_and_stream():
    whole = chat()
    check(chat().choices[0].message.content == whole.choices[0].message.content, "a seed repeats")
    text, usage, reason, roles = "", None, None, []
    for chunk in chat(stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
            roles += [choice.delta.role] if choice.delta.role else []
    check(text and text == whole.choices[0].message.content, "the stream says the same")
    check(reason == whole.choices[0].finish_reason, "for the same reason")
    check(usage == whole.usage, "with the same usage")
    check(roles == ["assistant"], "with one role")


def choices():
    whole = chat(n=3, temperature=1)
    texts = ["", "", ""]
    for chunk in chat(n=3, temperature=1, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    check(texts == [choice.message.content for choice in whole.choices], "choices by index")


def logprobs():
    content = chat(logprobs=True, top_logprobs=3).choices[0].logprobs.content
    check(0 < len(content) <= 24, "one entry a token")
    check(all(one.logprob <= 0 and len(one.top_logprobs) == 3 for one in content), "alternatives")
    streamed = []
    for chunk in chat(logprobs=True, top_logprobs=3, stream=True):
        for choice in chunk.choices:
            streamed += choice.logprobs.content if choice.logprobs else []
    check(streamed == content, "the stream has the same")


def stop():
    text = chat().choices[0].message.content
    end = text[len(text) // 2 :][:3]
    stopped = chat(stop=[end]).choices[0]
    check(stopped.message.content == text[: text.index(end)], "the match is left out")
    check(stopped.finish_reason == "stop", "it is the reason")
    streamed = "".join(
        chunk.choices[0].delta.content or "" for chunk in chat(stop=[end], stream=True)
    )
    check(streamed == stopped.message.content, "the stream stops there too")


def completions():
    wishes = {
        "model": model,
        "prompt": ["The sky is", "Grass is"],
        "seed": 7,
        "max_tokens": 4,
        "logprobs": 2,
        "echo": True,
    }
    whole = client.completions.create(**wishes)
    check(whole.choices[0].text.startswith("The sky is"), "the first prompt is echoed")
    check(whole.choices[1].text.startswith("Grass is"), "the second prompt is echoed")
    parts = whole.choices[0].logprobs
    check(parts.token_logprobs[0] is None, "nothing predicts the first token")
    check(len(parts.tokens) == len(parts.token_logprobs) == len(parts.text_offset), "lengths agree")
    texts = ["", ""]
    for chunk in client.completions.create(**wishes, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    check(texts == [choice.text for choice in whole.choices], "the stream says the same")


def errors():
    def expect(kind, code, param, **wishes):
        try:
            chat(**wishes)
        except kind as error:
            check((error.code, error.param) == (code, param), f"{error.code} {error.param}")
            check(error.request_id, "an error has a request id")
        else:
            raise AssertionError(f"{wishes} was accepted")

    bad = openai.BadRequestError
    expect(openai.NotFoundError, "model_not_found", "model", model="no-such-model")
    for stream in (False, True):
        expect(bad, "invalid_value", "temperature", temperature=9, stream=stream)
        expect(bad, "unsupported_parameter", "response_format", response_format={"type": "json_object"})
        expect(bad, "unknown_parameter", "no_such_parameter", extra_body={"no_such_parameter": 1})


def timeouts():
    wishes = {"max_completion_tokens": 400, "extra_body": {"ignore_eos": True}}
    try:
        client.with_options(timeout=0.001).chat.completions.create(**{**settings, **wishes})
    except openai.APITimeoutError:
        pass
    else:
        raise AssertionError("it answered within a millisecond")
    stream = chat(stream=True, **wishes)
    next(iter(stream))
    stream.close()
    check(len(chat().choices) == 1, "the next request is answered")


def main():
    done = []
    for step in (models, chat_and_stream, choices, logprobs, stop, completions, errors, timeouts):
        try:
            step()
        except Exception as error:
            print(json.dumps({"failed": step.__name__, "error": repr(error), "done": done}))
            return 1
        done.append(step.__name__)
    print(json.dumps({"client": openai.__version__, "done": done}))
    return 0


sys.exit(main())
