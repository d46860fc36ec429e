"""What the harness computes, without a server: cd testing/performance && python3 -m unittest"""

import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

import content
import loads
import machine
import profiles
import report
import slos
import soak
import sweep


def samples(count, value, every=5.0):
    return [(at * every, value(at)) for at in range(count)]


class Trend(unittest.TestCase):
    """A leak is found, noise is not."""

    def rises(self, value, count=240):
        return soak.trend(samples(count, value), **soak.RSS)[0]

    def test_a_leak_is_found_under_noise(self):
        source = random.Random(1)
        self.assertTrue(self.rises(lambda at: 20 + 0.05 * at + source.gauss(0, 0.5)))

    def test_noise_is_no_leak(self):
        for seed in range(50):
            source = random.Random(seed)
            self.assertFalse(self.rises(lambda at: 20 + source.gauss(0, 1.5)), seed)

    def test_what_grows_to_its_size_in_the_first_half_is_no_leak(self):
        self.assertFalse(self.rises(lambda at: 20 + min(at, 100) * 0.3))

    def test_what_falls_is_no_leak(self):
        self.assertFalse(self.rises(lambda at: 60 - 0.1 * at))

    def test_a_single_jump_near_the_end_is_no_leak_and_steps_all_along_are(self):
        self.assertFalse(self.rises(lambda at: 20 + 8 * (at > 220)))
        self.assertTrue(self.rises(lambda at: 20 + 2 * (at // 20)))

    def test_a_slow_gain_that_a_short_time_cannot_tell_from_noise_is_told_by_a_long_one(self):
        gain = lambda at: 20 + at * 5 * 20 / soak.A_DAY
        self.assertFalse(self.rises(gain))
        self.assertTrue(self.rises(gain, count=24 * 3600 // 5))

    def test_leaking_descriptors_are_found_and_those_that_come_and_go_are_not(self):
        source = random.Random(2)
        self.assertTrue(soak.trend(samples(240, lambda at: 40 + at // 10), **soak.FDS)[0])
        self.assertFalse(soak.trend(samples(240, lambda at: 40 + source.randrange(16)), **soak.FDS)[0])

    def test_too_few_samples_are_refused(self):
        with self.assertRaises(ValueError):
            soak.trend(samples(19, float), **soak.RSS)

    def test_theil_sen_finds_the_slope_of_a_line_a_quarter_of_whose_points_are_wild(self):
        source = random.Random(3)
        line = samples(200, lambda at: 3.0 * at * 5 + (source.uniform(0, 1e6) if at % 4 == 0 else 0))
        self.assertAlmostEqual(soak.slope(line), 3.0, delta=0.6)

    def test_faults_of_a_run_are_said(self):
        leak = [(at * 5.0, 20 + 0.1 * at, 40) for at in range(100)]
        found, faults = soak.judge(leak, [{"requests": 10, "errors": 2, "p99_ms": 1.0}])
        self.assertEqual((found["rss_mib"]["rises"], found["fds"]["rises"]), (True, False))
        self.assertEqual([fault.split()[0] for fault in faults], ["rss_mib", "2"])

    def test_durations_have_units(self):
        self.assertEqual([soak.duration(text) for text in ("600", "10m", "24h", "5s")], [600, 600, 86400, 5])


class Figures(unittest.TestCase):
    """Rounds become figures."""

    def test_a_percentile_is_a_value_that_was_seen(self):
        self.assertEqual([loads.percentile([1, 2, 3, 4], part) for part in (0.5, 0.75, 0.76, 0.99)], [2, 3, 4, 4])
        self.assertEqual(loads.percentile([7], 0.5), 7)

    def test_ratios_are_of_the_same_round(self):
        ours, theirs = [{"cpu_us": 10.0}, {"cpu_us": 30.0}, {"cpu_us": 10.0}], [{"cpu_us": 20.0}, {"cpu_us": 60.0}, {"cpu_us": 10.0}]
        self.assertEqual(profiles.ratios(ours, theirs), {"cpu_us": 0.5})

    def test_figures_are_medians_with_their_spread_and_requests_are_summed(self):
        found = profiles.medians([{"cpu_us": cost, "rps": 1.0, "requests": 10} for cost in (9.0, 30.0, 10.0)])
        self.assertEqual(found, {"cpu_us": 10.0, "rps": 1.0, "requests": 30, "cpu_us_min": 9.0, "cpu_us_max": 30.0})

    def test_nothing_is_divided_by_nothing(self):
        self.assertEqual(profiles.ratios([{"cpu_us": 1.0, "rps": 2.0}], [{"cpu_us": 0.0}]), {})

    def test_the_floor_and_martin_are_no_rivals(self):
        rounds = {name: [{"cpu_us": cost}] for name, cost in (("svc-edge", 9.0), ("floor", 1.0), ("martin", 2.0), ("h2o", 8.0), ("nginx", 10.0))}
        self.assertEqual(profiles.best_peer(rounds), {"server": "h2o", "ratio": 9 / 8})
        self.assertIsNone(profiles.best_peer({"svc-edge": [{"cpu_us": 1.0}], "floor": [{"cpu_us": 1.0}]}))

    def test_refusals_errors_and_what_got_no_answer_are_told_apart(self):
        watch = type("Watch", (), {"cpu": 1.0, "rss": 10.0, "fds": 5})
        rows = [(0.001, 200)] * 6 + [(0.001, 429)] * 2 + [(0.5, 500)]
        figures = loads.fixed_figures(rows, 10, watch, 2.0)
        self.assertEqual((figures["requests"], figures["errors"], figures["shed_rate"], figures["server_errors"]), (8, 2, 0.2, 0.1))
        self.assertEqual((figures["p99_ms"], figures["rps"], figures["cpu_core"]), (1.0, 3.0, 0.5))

    def test_gwsmoke_at_a_rate_asks_for_that_rate(self):
        self.assertAlmostEqual(sum(share.rate for share in loads.gwsmoke_shares(400, '"a"')), 400)

    def test_the_limits_of_a_sweep_replace_those_that_are_high(self):
        self.assertEqual(sweep.limited("{rps_limit: 9, max_inflight: 8}", rps_limit=5), "{max_inflight: 8, rps_limit: 5}")

    def test_every_knob_of_the_sweep_says_what_its_load_is(self):
        for knob, (load, values) in sweep.KNOBS.items():
            self.assertTrue(load.__doc__ and len(values) > 1, knob)

    def test_what_is_over_in_no_time_has_its_memory_all_the_same(self):
        with loads.Watch(os.getpid()) as watch:
            pass
        self.assertTrue(watch.rss > 1 and watch.fds > 0)

    def test_a_load_that_does_not_end_is_ended(self):
        with self.assertRaises(machine.Failed):
            machine.run([sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.2)
        self.assertEqual(machine._running, [])


class Slos(unittest.TestCase):
    """Each line is held against its figure, and a figure that is missing is none."""

    def line(self, profiles, name):
        return next(each for each in slos.slos(profiles, {"cap": "oha is not installed"}, pathlib.Path("none.json")) if each["name"].startswith(name))

    def test_a_figure_is_held_against_what_is_asked_and_against_the_goal(self):
        fixed = {"tool": "oha", "seconds": 30, "rate": 400, "servers": {"svc-edge": {"p99_ms": 2.0}}}
        line = self.line({"fixed_400": fixed}, "warm hit p99 at")
        self.assertEqual((line["value"], line["held"], line["goal_held"]), (2.0, True, False))

    def test_what_was_not_measured_is_neither_held_nor_missed_and_says_why(self):
        line = self.line({}, "429 at the cap")
        self.assertEqual((line["value"], line["held"], line["goal_held"]), (None, None, None))
        self.assertIn("oha is not installed", line["how"])

    def test_bounds_are_exact(self):
        self.assertFalse(slos.bound("< 40 ms")(40.0))
        self.assertTrue(slos.bound("≤ 1")(1.0) and slos.bound("≥ 400 req/s")(400.0))

    def test_a_rate_with_errors_or_too_few_answers_is_not_sustained(self):
        def held(**figures):
            return self.line({"fixed_400": {"tool": "oha", "seconds": 30, "rate": 400, "servers": {"svc-edge": figures}}}, "sustained")["held"]

        self.assertTrue(held(rps=399.5, errors=0))
        self.assertFalse(held(rps=399.5, errors=1) or held(rps=380.0, errors=0))

    def test_a_short_time_at_the_cap_says_that_it_was_short(self):
        cap = {"tool": "oha", "seconds": 60, "servers": {"svc-edge": {"shed_rate": 0.004}}}
        line = self.line({"cap": cap}, "429 at the cap")
        self.assertTrue(line["held"] and abs(line["value"] - 0.4) < 1e-9 and "--cap-seconds 900" in line["how"])


class Made(unittest.TestCase):
    """What is served, and what is written."""

    def test_tiles_stand_on_the_curve_where_the_specification_has_them(self):
        self.assertEqual([content.tile_id(*place) for place in ((0, 0, 0), (1, 1, 0), (12, 3423, 1763))], [0, 4, 19078479])
        self.assertEqual(sorted(content.tile_id(3, x, y) for x in range(8) for y in range(8)), list(range(21, 85)))

    def test_tiles_have_the_sizes_that_profiles_tell(self):
        source = random.Random(4)
        self.assertTrue(22_000 < len(content.png(source)) < 25_000 and 42_000 < len(content.mvt(source)) < 44_000)

    def perf(self):
        found = {"what": "w", "tool": "wrk", "servers": {"svc-edge": {"cpu_us": 9.0}, "h2o": {"cpu_us": 8.0}}, "ratios": {"h2o": {"cpu_us": 1.125}}}
        machine = {"cpu": "A <fast> & one", "cores": 2, "kernel": "6", "memory_mib": 1, "server_core": 0, "load_core": 1}
        return {
            "date": "2026-11-23T19:00:00Z", "commit": "abc", "machine": machine, "note": "", "versions": {"h2o": "2"}, "skipped": {"martin": "no"},
            "conf": "edge: {}\n", "profiles": {"asset_4k": found}, "slos": slos.slos({"asset_4k": found}, {}, pathlib.Path("none.json")),
        }

    def test_the_chart_is_xml_with_a_bar_for_each_server(self):
        import xml.etree.ElementTree as xml

        tree = xml.fromstring(report.chart(self.perf()))
        self.assertEqual(len(tree.findall("{http://www.w3.org/2000/svg}rect")), 2)

    def test_the_report_has_every_slo_and_says_what_was_not_measured(self):
        text = report.markdown(self.perf())
        self.assertIn("| 4 KiB | 9 | 8 |", text)
        self.assertIn("- martin: no", text)
        for each in self.perf()["slos"]:
            self.assertIn(f"| {each['name']} |", text)

    def test_only_what_is_between_the_markers_of_the_readme_changes(self):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "README.md"
            path.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
            for _ in range(2):
                report.readme(self.perf(), path)
            text = path.read_text()
            self.assertTrue(text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text and text.count("| 4 KiB |") == 1)
            path.write_text("no markers\n")
            with self.assertRaises(machine.Failed):
                report.readme(self.perf(), path)

    def test_a_name_that_is_misspelt_is_refused_with_those_that_are_known(self):
        perf = pathlib.Path(__file__).with_name("perf.py")
        out = subprocess.run([sys.executable, perf, "--profiles", "aset_4k"], capture_output=True, text=True, check=False)
        self.assertEqual(out.returncode, 2)
        self.assertIn("asset_4k", out.stderr)


if __name__ == "__main__":
    unittest.main()
