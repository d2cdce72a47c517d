"""What a metrics page says, and what none does: no server needed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from meterhouse_agent.samples import EngineSample, HistogramSample
from meterhouse_agent.sources import engine_page
from meterhouse_agent.sources.engine_page import PageError, PageReader
from meterhouse_agent.sources.engine_profiles import PROFILES
from tests.stand_ins.vllm_server import VllmServer


def read(page: str) -> tuple[EngineSample, ...]:
    return PageReader(PROFILES["vllm"]).read(page.encode(), "e", 1)


def line(name: str, value: str, labels: str = 'engine="0",model_name="m"') -> str:
    return f"vllm:{name}{{{labels}}} {value}\n"


def test_the_same_as_the_whole_page_parsed() -> None:
    server = VllmServer("m", ranks=3)
    for rank, truth in enumerate(server.models["m"]):
        truth.finish(input_tokens=10**rank, output_tokens=7 * rank, first_token=0.2 * rank)
    page = server.page()
    whole = [
        sample
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "vllm:generation_tokens_total"
    ]
    assert read(page)[0].output_tokens == sum(sample.value for sample in whole) == 21


def test_a_page_of_a_moment_later_is_read_by_the_same_reader() -> None:
    server = VllmServer("m")
    reader = PageReader(PROFILES["vllm"])
    first = reader.read(server.page().encode(), "e", 1)
    server.models["m"][0].finish(input_tokens=3, output_tokens=4)
    second = reader.read(server.page().encode(), "e", 2)
    assert (first[0].output_tokens, second[0].output_tokens) == (0, 4)
    assert second[0].latency["e2e"].cumulative_counts[-1] == 1


@pytest.mark.parametrize(
    "page",
    [
        "",
        "\n\n",
        '{"a": 1}\n',
        '"# HELP vllm:generation_tokens_total x"\n',
        "<html></html>\n",
        "Not Found\n",
        "# nothing\n",
        line("generation_tokens_total", "5").removesuffix("\n"),
        line("generation_tokens_total", "5") * 2,
        line("generation_tokens_total", "5", 'engine="0"'),
        line("generation_tokens_total", "5", 'model_name="'),
        line("generation_tokens_total", "5", 'model_name="m",model_name="n"'),
        line("generation_tokens_total", "5", 'mod el="m"'),
        line("generation_tokens_total", "5", f'model_name="{"x" * 5000}"'),
        line("generation_tokens_total", "5")
        + line("generation_tokens_total", "5").replace("vllm:", "ray_vllm_"),
        "".join(line("generation_tokens_total", "5", f'model_name="{n}"') for n in range(300)),
        "".join(line("generation_tokens_total", "5", f'engine="{n}"') for n in range(17_000)),
    ],
)
def test_what_is_no_page_is_an_error(page: str) -> None:
    with pytest.raises(PageError):
        read(page)


@pytest.mark.parametrize(
    "hostile",
    [
        "vllm:generation_tokens_total{" + "a" * 3_000_000 + "\n",
        'vllm:generation_tokens_total{model_name="' + '\\"' * 1_500_000 + '"} 5\n',
        'vllm:generation_tokens_total{model_name="' + "\\" * 3_000_000 + "\n",
        "vllm:generation_tokens_total " + " " * 3_000_000 + "\n",
        "vllm:generation_tokens_total{" + '""' * 1_500_000 + "\n",
        "\n" * 4_000_000 + "#\n",
        "vllm:generation_tokens_total{}\n" * 130_000,
    ],
)
@pytest.mark.timeout(30)
def test_a_hostile_page_is_refused_and_not_searched_for_ever(hostile: str) -> None:
    with pytest.raises(PageError):
        read(hostile)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "1_000", "x", "1e300"])
def test_what_is_no_count_is_not_measured(value: str) -> None:
    sample = read(line("generation_tokens_total", value) + line("prompt_tokens_total", "3"))[0]
    assert sample.output_tokens is None
    assert sample.input_tokens == 3
    assert sample.cached_input_tokens is None
    assert sample.requests == {}
    assert sample.running_requests is None
    assert sample.latency == {}


def test_a_sum_without_one_of_its_engines_is_not_measured() -> None:
    two = 'engine="1",model_name="m"'
    sample = read(
        line("generation_tokens_total", "5")
        + line("generation_tokens_total", "6", two)
        + line("prompt_tokens_total", "7")
        + line("request_success_total", "1", 'engine="0",finished_reason="stop",model_name="m"')
    )[0]
    assert (sample.output_tokens, sample.input_tokens, sample.requests) == (11, None, {})


def test_hits_of_the_prefix_cache_are_not_cached_tokens() -> None:
    page = line("generation_tokens_total", "5") + line("prefix_cache_hits_total", "9")
    assert read(page)[0].cached_input_tokens is None


def test_unknown_reasons_are_counted_as_other() -> None:
    def finished(reason: str, value: int) -> str:
        labels = f'engine="0",finished_reason="{reason}",model_name="m"'
        return line("request_success_total", str(value), labels)

    page = finished("stop", 5) + finished("tired", 2) + finished("bored", 1)
    assert read(page)[0].requests == {"stop": 5, "other": 3}


@pytest.mark.parametrize("text", ['a "b" {c} \\ d', "ünïcode, with=commas", "meta/llama 3.3"])
def test_any_text_may_name_a_model(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    page = line("generation_tokens_total", "5 1700000000000", f'model_name="{escaped}"')
    sample = read(page)[0]
    assert (sample.served_model, sample.output_tokens) == (text, 5)


def test_the_earliest_start_is_the_epoch() -> None:
    page = (
        line("generation_tokens_total", "5")
        + line("generation_tokens_created", "1.7e+09")
        + line("generation_tokens_total", "5", 'engine="1",model_name="m"')
        + line("generation_tokens_created", "1.8e+09", 'engine="1",model_name="m"')
    )
    assert read(page)[0].epoch == "1700000000.000"
    assert read(page + "process_start_time_seconds 1.6e+09\n")[0].epoch == "1600000000.000"
    assert read(page + "process_start_time_seconds NaN\n")[0].epoch == "1700000000.000"


# ------------------------------------------------------------------ histograms


def buckets(counts: dict[str, str], total: str = "1.5", engine: str = "0") -> str:
    name = "time_to_first_token_seconds"
    text = "".join(
        line(f"{name}_bucket", count, f'engine="{engine}",le="{edge}",model_name="m"')
        for edge, count in counts.items()
    )
    return text + line(f"{name}_sum", total, f'engine="{engine}",model_name="m"')


def to_first(page: str) -> HistogramSample | None:
    return read(page)[0].latency.get("ttft")


def test_histograms_of_engines_add_up() -> None:
    page = buckets({"0.1": "1", "1.0": "2", "+Inf": "4"}) + buckets(
        {"0.1": "10", "1.0": "20", "+Inf": "40"}, "2.5", "1"
    )
    assert to_first(page) == HistogramSample(
        edges_seconds=(0.1, 1.0, math.inf), cumulative_counts=(11, 22, 44), sum_seconds=4.0
    )


@pytest.mark.parametrize(
    "page",
    [
        buckets({"0.1": "1", "1.0": "2"}),  # no infinite bucket
        buckets({"0.1": "3", "+Inf": "2"}),  # counts that fall
        buckets({"0.1": "NaN", "+Inf": "2"}),
        buckets({"x": "1", "+Inf": "2"}),
        buckets({"0.1": "1", "+Inf": "2"}, "NaN"),
        buckets({"0.1": "1", "+Inf": "2"}) + buckets({"0.2": "1", "+Inf": "2"}, engine="1"),
        buckets({"0.1": "1", "+Inf": "2"})
        + line("generation_tokens_total", "1", 'engine="1",model_name="m"'),
    ],
)
def test_a_histogram_that_does_not_add_up_is_left_out(page: str) -> None:
    assert to_first(page) is None
    assert to_first(buckets({"0.1": "1", "+Inf": "2"})) is not None


@given(st.integers(1, 300))
def test_any_number_of_edges_fits_the_contract(edges: int) -> None:
    counts = {str(n / 10): str(n) for n in range(edges)} | {"+Inf": str(edges)}
    histogram = to_first(buckets(counts))
    assert histogram is not None
    assert len(histogram.edges_seconds) <= engine_page.MAX_FINITE_EDGES + 1
    for edge, count in zip(histogram.edges_seconds[:-1], histogram.cumulative_counts, strict=False):
        assert count == round(edge * 10)
    assert histogram.cumulative_counts[-1] == edges
