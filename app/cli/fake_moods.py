"""What a scripted endpoint may do with a request, good and bad."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Mood(StrEnum):
    """How one request is treated."""

    PLAIN = "plain"
    PINGS = "pings"
    CRLF = "crlf"
    CR = "cr"
    UTF8_SPLIT = "utf8-split"
    LINE_SEPARATOR = "line-separator"
    REASONING = "reasoning"
    JSON_BODY = "json-body"
    NO_DONE = "no-done"
    NO_USAGE = "no-usage"
    TOO_MANY_SECONDS = "429-seconds"
    TOO_MANY_DATE = "429-date"
    TOO_MANY_EPOCH = "429-epoch"
    UNAVAILABLE = "503"
    RESET_BEFORE_HEADERS = "reset-before-headers"
    RESET_MID_STREAM = "reset-mid-stream"
    NO_FINISH = "no-finish"
    STALL = "stall"
    PINGS_ONLY = "pings-only"
    SILENCE = "silence"
    ERROR_IN_STREAM = "error-in-stream"
    HTML = "html"
    NO_STREAM_OPTIONS = "no-stream-options"
    NO_JSON_SCHEMA = "no-json-schema"
    NO_RESPONSE_FORMAT = "no-response-format"
    NO_MAX_TOKENS = "no-max-tokens"
    NO_EXTRAS = "no-extras"
    CONTEXT_OVERFLOW = "context-overflow"
    FRONT_TRUNCATION = "front-truncation"
    UNAUTHORIZED = "401"
    NO_MODEL = "404-model"
    BROKEN = "500"
    REDIRECT = "redirect"
    FILTERED = "filtered"
    REFUSAL = "refusal"
    CONTENT_FILTER = "content-filter"
    LENGTH = "length"
    WHITESPACE_FLOOD = "whitespace-flood"
    REPETITION = "repetition"
    TOO_LONG = "too-long"


SENTENCES: Final[Mapping[Mood, str]] = {
    Mood.PLAIN: "Streams the answer, then what it counted.",
    Mood.PINGS: "Sends comments before and between the chunks.",
    Mood.CRLF: "Ends its lines with CRLF.",
    Mood.CR: "Ends its lines with CR alone.",
    Mood.UTF8_SPLIT: "Cuts its bytes anywhere, in the middle of letters too.",
    Mood.LINE_SEPARATOR: "Puts U+2028 and U+0085 unescaped into every chunk.",
    Mood.REASONING: "Thinks aloud before it answers.",
    Mood.JSON_BODY: "Answers with one JSON body although a stream was asked for.",
    Mood.NO_DONE: "Ends after the reason of its end, without [DONE].",
    Mood.NO_USAGE: "Does not say what it counted.",
    Mood.TOO_MANY_SECONDS: "429, with Retry-After in seconds.",
    Mood.TOO_MANY_DATE: "429, with Retry-After as a date.",
    Mood.TOO_MANY_EPOCH: "429, with an instant since 1970 in X-RateLimit-Reset-Requests.",
    Mood.UNAVAILABLE: "503.",
    Mood.RESET_BEFORE_HEADERS: "Breaks the connection instead of an answer.",
    Mood.RESET_MID_STREAM: "Breaks the connection in the middle of the answer.",
    Mood.NO_FINISH: "Ends in the middle of the answer, as if that were all.",
    Mood.STALL: "Falls silent in the middle of the answer.",
    Mood.PINGS_ONLY: "Sends comments for ever, and nothing else.",
    Mood.SILENCE: "Takes the request and never answers.",
    Mood.ERROR_IN_STREAM: "Reports an error in the middle of the answer.",
    Mood.HTML: "200, with a page of some proxy.",
    Mood.NO_STREAM_OPTIONS: "Refuses stream_options.",
    Mood.NO_JSON_SCHEMA: "Refuses a response_format of json_schema.",
    Mood.NO_RESPONSE_FORMAT: "Refuses every response_format.",
    Mood.NO_MAX_TOKENS: "Refuses max_tokens in favour of max_completion_tokens.",
    Mood.NO_EXTRAS: "Refuses every field of its own, without saying which.",
    Mood.CONTEXT_OVERFLOW: "400: the prompt is longer than the context.",
    Mood.FRONT_TRUNCATION: "Cuts the front of the prompt without a word.",
    Mood.UNAUTHORIZED: "401, repeating the key.",
    Mood.NO_MODEL: "404: there is no such model.",
    Mood.BROKEN: "500.",
    Mood.REDIRECT: "307 to somewhere else.",
    Mood.FILTERED: "400 by a filter in front of the model.",
    Mood.REFUSAL: "Says no in the field for that.",
    Mood.CONTENT_FILTER: "Is stopped by a filter in the middle of the answer.",
    Mood.LENGTH: "Runs into its limit in the middle of the answer.",
    Mood.WHITESPACE_FLOOD: "Writes white space for ever.",
    Mood.REPETITION: "Repeats itself for ever.",
    Mood.TOO_LONG: "Goes on for ever with something new.",
}
