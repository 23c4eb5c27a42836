"""The formulas of the metrics, with the ids that go into every record and every column of the report.

Notation: t0 first byte of the request written on a connection that was open before; tb body written; th response
headers arrived; t1 first event with a generated token; tL last such event; n completion tokens, reasoning included;
k1 tokens that arrived with t1; p prompt tokens, image tokens included; c cached tokens. A formula that changes gets
a new number behind the @, so that figures of two runs are compared only when they mean the same.
"""

from __future__ import annotations

from typing import NamedTuple


class Formula(NamedTuple):
    """One definition; `better` is `high`, `low` or an empty string where neither is better."""

    id: str
    unit: str
    better: str
    text: str


FORMULAS: dict[str, Formula] = {
    "pf_srv": Formula("PF_srv@1", "tok/s", "high", "(p - c) / server's prefill time"),
    "pf_hdr": Formula("PF_hdr@1", "tok/s", "high", "(p - c) / (t1 - th), where the server sends headers at its start"),
    "pf_cli": Formula("PF_cli@1", "tok/s", "high", "(p - c) / (t1 - tb), a lower bound"),
    "pf_slope": Formula("PF_slope@1", "tok/s", "high", "(p_b - p_a) / (median(t1 - tb)_b - median(t1 - tb)_a)"),
    "pf_overhead": Formula("PF_overhead@1", "s", "low", "median(t1 - tb)_a - p_a / PF_slope"),
    "t_img": Formula("T_img@1", "s", "low", "(t1 - tb)_image - (t1 - tb)_text - p_image / PF_slope"),
    "dc_srv": Formula("DC_srv@1", "tok/s", "high", "(n - 1) / server's decode time"),
    "dc_cli": Formula("DC_cli@1", "tok/s", "high", "(n - k1) / (tL - t1)"),
    "dc_vendor": Formula("DC_vendor@1", "tok/s", "high", "the engine's own tokens_per_second, numerator undocumented"),
    "dc_w": Formula("DC_w@1", "tok/s", "high", "(b - a) / (t_b - t_a) for token indices 33 to 288, or to the last"),
    "ttft": Formula("TTFT@1", "s", "low", "t1 - t0"),
    "ttfo": Formula("TTFO@1", "s", "low", "first content - t0"),
    "thinking": Formula("THINK@1", "s", "", "TTFO - TTFT"),
    "e2e": Formula("E2E@1", "s", "low", "tL - t0"),
    "out_e2e": Formula("OUT_E2E@1", "tok/s", "high", "n / E2E"),
    "a_dec": Formula("A_dec@1", "", "", "DC_cli / DC_srv"),
    "a_pf": Formula("A_pf@1", "", "", "PF_cli / PF_srv"),
    "a_hdr": Formula("A_hdr@1", "", "", "PF_hdr / PF_srv"),
    "a_tok": Formula("A_tok@1", "", "", "n by usage / n by the server's counters"),
    "eta_dec": Formula("ETA_dec@1", "", "", "DC * (W_active + KV(d)) / BW"),
    "eta_pf": Formula("ETA_pf@1", "", "", "PF * (2 N_active + attn(p)) / F"),
    "burst": Formula("BURST@1", "", "low", "share of token events within a tenth of the expected interval"),
    "e_pf": Formula("E_pf@1", "J/tok", "low", "integral of power over t0..t1 / (p - c)"),
    "e_dec": Formula("E_dec@1", "J/tok", "low", "integral of power over t1..tL / (n - k1)"),
    "rate_total": Formula("RATE_c@1", "tok/s", "high", "sum of n / (last tL - first t0) of requests run together"),
}

# The request's headline figures: the server's own where it gives exact ones, else the client's.
HEADLINE = {"prefill": ("pf_srv", "pf_hdr", "pf_cli"), "decode": ("dc_srv", "dc_cli")}
