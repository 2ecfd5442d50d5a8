"""Tests that others stand for in `make test`, which `make test-more` runs: siblings of them, of which the table says which stay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Some:
    """Which cases of a test stay: each `every`-th, beginning with the first, or those of `but`; or all that are not among `only`. Of a test of
    which none stays, `by` names the one that has its kind in `make test`: a test of its file, or `file::test`, with its [case].
    """

    every: int = 0
    but: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    by: str = ""

    @property
    def takes_all(self) -> bool:
        return not (self.every or self.but or self.only)

    def stand_in(self, file: str) -> tuple[str, str, str]:
        """File, test and case of what stands for a test of a file; the case is empty where the test has none."""
        named = self.by if "::" in self.by else f"{file}::{self.by}"
        where, _, name = named.partition("::")
        test, _, case = name.partition("[")
        return where, test, case.removesuffix("]")

    def for_later(self, cases: Sequence[str]) -> set[str]:
        staying = cases[:: self.every] if self.every else self.but
        return set(cases).intersection(self.only) if self.only else set(cases).difference(staying)

    def unknown(self, cases: Sequence[str]) -> list[str]:
        """What it names that the test does not have."""
        return sorted({*self.but, *self.only}.difference(cases))


KERNELS, CUDA = "backends/tvm/cpu/kernels", "backends/tvm/cuda"
TRIALS = f"{CUDA}/kernels/test_other_kernels.py::test_each_is_right_in_any_order"
GREAT = ("convnext_small", "convnext_base", "convnext_large", "efficientnet_v2_s", "vit_b_32", "vit_l_16")  # others of their families stay
TABLE: dict[str, dict[str, Some]] = {
    "backends/onnx/read/test_quantized.py": {"test_every_engine_runs_it": Some(only=("tvm",))},
    "backends/onnx/read/test_training.py": {
        "test_it_is_compiled_as_it_stands": Some(by="test_statistics_are_those_of_the_batch[results0-shape0]"),
        "test_statistics_are_those_of_the_batch": Some(every=4),
    },
    "compiler/targets/test_portable.py": {"test_the_example_in_c_computes_the_same": Some(by="test_c_chooses_as_python_does")},
    "compiler/targets/test_other_machines.py": {"test_a_processor_of_this_kind": Some(but=("x86-64-v3-avx2-avx512f",))},
    "backends/onnx/test_unpool_files.py": {
        "test_an_encoder_and_its_decoder_go_all_the_way": Some(
            by="backends/onnx/test_conformance.py::test_case[test_maxunpool_export_without_output_shape-tvm]"
        )
    },
    "backends/onnx/test_opaque_property.py": {"test_hidden_operators_change_no_result": Some(every=4)},
    f"{KERNELS}/test_attention.py": {"test_attention": Some(but=("sizes9-None", "sizes10-masks10"))},
    f"{KERNELS}/test_batch.py": {
        "test_steps_with_norms_stay_within_their_bounds": Some(by="test_the_way_back_of_a_norm[False]"),
        "test_sums_about_a_mean": Some(every=2),
        "test_sums_and_means_of_channels": Some(every=3),
    },
    f"{KERNELS}/test_depthwise_gradient.py": {
        "test_depthwise_weight_gradients": Some(but=("case0-False", "case1-True", "case3-False")),
        "test_groups_within_a_block": Some(but=("36-4",)),
        "test_a_sum_of_many_pixels_rounds_as_one_of_few": Some(
            by=f"{KERNELS}/test_winograd_training.py::test_a_sum_of_many_pixels_rounds_as_one_of_few"
        ),
    },
    f"{KERNELS}/test_forms.py": {
        "test_a_form_changes_no_digit": Some(only=("37 channels", "to 40 channels")),
        "test_a_half_of_the_last_block_changes_no_digit": Some(every=5),
    },
    f"{KERNELS}/test_layer_norm.py": {"test_layer_norm": Some(every=3)},
    f"{KERNELS}/test_narrow.py": {"test_narrow_groups": Some(every=5)},
    f"{KERNELS}/test_norms_and_resize.py": {
        "test_resize": Some(every=5),
        "test_sums_of_neighbouring_channels": Some(every=3),
        "test_a_resize_out_of_blocks_has_the_same_digits": Some(every=3),
    },
    f"{KERNELS}/test_pool_gradient.py": {"test_pool_gradients": Some(every=3)},
    f"{KERNELS}/test_registers.py": {
        "test_products_stay_in_registers": Some(
            only=(
                "winograd weight gradient-x86-64-v3",
                *(
                    f"{each}-{name}"
                    for each in ("winograd weight gradient", "winograd groups", "weight gradient", "narrow", "volumes")
                    for name in ("x86-64-v2", "znver3", "neoverse-n1")
                ),
            )
        ),
        "test_tiles_for_wider_registers_do_not": Some(only=("winograd weight gradient", "winograd groups")),
    },
    f"{KERNELS}/test_rows.py": {"test_rows": Some(every=6), "test_matrices": Some(every=3)},
    f"{KERNELS}/test_strassen.py": {"test_rows": Some(but=("2-27-32-60-True-processor1",)), "test_pixels": Some(every=2)},
    f"{KERNELS}/test_weight_gradient.py": {"test_weight_gradients": Some(but=("case0-False", "case8-False", "case10-False"))},
    f"{KERNELS}/test_winograd_phases.py": {
        "test_phases_lie_within_each_other": Some(but=("1-None-2",)),
        "test_which_dilations_have_phases": Some(but=("{pads=[2,2,2,2], dilations=[2,2]}-winograd F(4x4)",)),
    },
    f"{KERNELS}/test_winograd_training.py": {
        "test_weight_gradients_stay_within_their_own_bound": Some(but=("case2-2-False",)),
        "test_checks_know_what_tiles_are_off_by": Some(by="test_noise_is_what_we_say[24-20-2]"),
        "test_noise_is_what_we_say": Some(but=("24-20-2",)),
    },
    f"{KERNELS}/test_moves.py": {"test_zeros_around_channels_and_between_pixels": Some(every=2)},
    "backends/tvm/cpu/test_ways_back.py": {
        "test_local_response_norm_of_channels_that_fill_no_block": Some(by="test_local_response_norm"),
        "test_moves_in_blocks": Some(every=2),
    },
    "backends/tvm/cpu/test_tokens.py": {
        "test_channels_are_moved_last_and_back_by_vectors": Some(only=("N",)),
        "test_heads_are_read_where_one_layer_left_them": Some(but=("N",)),
    },
    "backends/tvm/library/test_c_interface.py": {"test_a_network_is_trained_from_c": Some(but=("True",))},
    # ONNX's own cases of these go through TVM in tests/backends/onnx/test_conformance.py; the rest are a second case of their op. Whatever
    # STAND_FOR says there, that TVM computes its attributes here, stays.
    "backends/tvm/stock/test_ops.py": {
        "test_agrees_with_the_reference": Some(
            only=(
                *("attention_with_past", "deform_conv2d", "grid_sample-more", "max_unpool"),
                *("lengths", "roi_align", "gather_elements", "max_pool_indices", "integer_products", "angles"),
                *("resize-filters", "resize-crops", "resize-policies", "pools_of_sequences", "pools_of_volumes"),
                *("resize_of_sequences", "resize_of_volumes", "conv1d", "conv_transpose1d", "conv3d", "conv_transpose3d"),
                *("conv_weight_gradients", "max_pool_gradient", "dynamic_quantization", "gather_nd"),
                *("thresholds", "quantized_products", "moments", "lengths_of_sequences"),
            )
        )
    },
    "backends/tvm/stock/test_bfloat16.py": {"test_ops_agree_with_the_reference": Some(but=("compare",))},
    "backends/tvm/stock/test_named_sizes.py": {"test_at_two_sizes": Some(but=("windows that round up, and what is cut off-own kernels",))},
    "backends/tvm/library/test_wrapping.py": {"test_transposed_convolutions_whose_weight_is_an_input": Some(but=("f32",))},
    "backends/tvm/stock/test_sums.py": {"test_long_sums_round_as_short_ones": Some(but=("3",))},
    f"{CUDA}/emulator/test_device.py": {
        "test_verify_runs_an_artifact_emulated_and_says_so": Some(by="test_run_runs_it_emulated_when_asked"),
        "test_a_network_runs_in_tvms_virtual_machine": Some(by=f"{CUDA}/test_families.py::test_places_that_are_always_0_are_inside"),
        "test_verify_draws_as_many_images_as_must_be_together": Some(by="test_run_runs_it_emulated_when_asked"),
        "test_a_process_has_the_device_once_it_asks_for_it": Some(by=f"{CUDA}/test_loading.py::test_machine_code_loads_without_a_compiler"),
    },
    f"{CUDA}/emulator/test_faults.py": {
        "test_planted_faults_show": Some(every=3),
        "test_sanitizers_find_nothing_where_nothing_is": Some(by="test_memory_and_undefined_behaviour_are_looked_at"),
        "test_a_race_is_found_whichever_thread_came_first": Some(but=("late",)),
        "test_blocks_that_write_to_one_place_race": Some(by="test_a_race_is_found_whichever_thread_came_first[late]"),
    },
    f"{CUDA}/emulator/test_networks.py": {
        "test_every_op": Some(but=("running",)),
        "test_every_network": Some(by=f"{CUDA}/test_zoo.py::test_a_small_network_is_right_by_wgmma"),
    },
    f"{CUDA}/emulator/test_traffic.py": {
        "test_figures_are_those_of_arithmetic": Some(
            but=("every other", "rounds that lanes leave out", "a transpose", "ldmatrix with room")
        )
    },
    f"{CUDA}/emulator/test_warpgroups.py": {
        "test_planted_faults_show": Some(but=("no wait before a slot is filled again",)),
        "test_races_around_products_are_found": Some(
            by=f"{CUDA}/emulator/test_faults.py::test_a_race_is_found_whichever_thread_came_first[late]"
        ),
    },
    f"{CUDA}/kernels/test_implicit_gemm.py": {
        "test_edges_are_right": Some(but=("mma.sync-scores", "wgmma-few rows")),
        "test_faults_are_seen": Some(but=("mma.sync-no barrier among the steps",)),
        "test_machine_code_has_tensor_cores_and_no_stack": Some(but=("wgmma",)),
    },
    f"{CUDA}/kernels/test_other_kernels.py": {
        "test_faults_are_seen": Some(but=("global avg pool-no barrier",)),
        "test_sanitizers_find_nothing": Some(but=("global avg pool-address,undefined",)),
        "test_each_is_right_in_any_order": Some(but=("global avg pool", "matvec", "direct")),
    },
    f"{CUDA}/test_families.py": {"test_all_are_right": Some(by="test_some_of_each_are_right")},
    f"{CUDA}/test_in_place.py": {
        "test_with_a_plan_of_memory_they_are_right": Some(but=("skip",)),
        "test_for_any_batch_they_are_right": Some(by="test_with_a_plan_of_memory_they_are_right[skip]"),
    },
    f"{CUDA}/test_kept.py": {
        "test_what_is_not_what_was_kept_is_built_anew": Some(every=3),
        "test_a_second_build_lowers_no_kernel": Some(by="test_what_is_not_what_was_kept_is_built_anew[<lambda>0]"),
        "test_what_nobody_knows_the_sources_of_is_not_kept": Some(
            by="test_there_is_none_where_a_source_was_written_to_since_it_was_loaded"
        ),
    },
    f"{CUDA}/test_passes.py": {"test_passes_make_no_more_kernels": Some(but=("squeezenet1_1",))},
    f"{CUDA}/test_ordinary_units.py": {
        "test_few_products_of_few_channels_are_right": Some(by=f"{TRIALS}[direct]"),
        "test_vectors_are_right": Some(by=f"{TRIALS}[matvec]"),
    },
    f"{CUDA}/test_plan.py": {
        "test_networks_are_right": Some(but=("text2",)),
        "test_what_is_steep_is_held_to_the_noise_of_its_precision": Some(by="test_networks_are_right[text2]"),
    },
    f"{CUDA}/test_streams.py": {"test_a_kernel_is_first_launched_by_one_thread": Some(but=("fixed",))},
    f"{CUDA}/test_wide_rules.py": {"test_they_are_right": Some(but=("residual",))},
    f"{CUDA}/test_wide.py": {
        "test_places_are_computed_in_enough_bits": Some(
            but=("avg pool-2147483647", "transposed conv, twice as large-1879048191", "conv, an image a pixel-2147483647")
        ),
        "test_stock_rows_number_four_billion_elements": Some(by="test_what_is_too_narrow_is_seen"),
    },
    f"{CUDA}/test_zoo.py": {
        "test_nothing_between_the_borders_is_stock": Some(but=("resnet20", "squeezenet1_1", "mobilenet_v2")),
        "test_what_tensor_cores_multiply_is_by_wgmma_where_it_is_there": Some(but=("resnet18",)),
        "test_networks_are_right_by_wgmma": Some(by="test_a_small_network_is_right_by_wgmma"),
    },
    "compiler/checking/test_gradients_of_networks.py": {
        "test_engines_compute_them": Some(only=("lenet-tvm", "residual-tvm")),
        "test_every_pass_keeps_them": Some(but=("lenet",)),
    },
    "compiler/commands/test_bench.py": {"test_a_batch_that_the_network_does_not_take_is_refused": Some(but=("1-2",))},
    "compiler/commands/test_bfloat16.py": {
        "test_one_made_in_the_dsl_is_compiled_checked_and_run": Some(by="test_results_are_those_of_float64_within_its_rounding")
    },
    "compiler/commands/test_checking.py": {
        "test_a_pass_that_breaks_is_left_out_with_a_warning_and_nobody_is_blamed": Some(only=("command2",))
    },
    "compiler/commands/test_entering.py": {"test_what_leaves_the_range_of_fp16_once_normalized": Some(only=("words1",))},
    "compiler/commands/test_memory.py": {
        "test_what_does_not_fit_is_refused_with_numbers": Some(but=("compile net.cir -o out", "run net.cir --input x:100000000000,4"))
    },
    "compiler/commands/test_optimize.py": {
        "test_what_onnxruntime_gets_wrong_by_itself_is_its_own_fault": Some(only=("False-False",)),
        "test_what_a_file_kept_its_weights_in_goes_with_it": Some(but=("shared.bin-True",)),
    },
    "compiler/commands/test_progress.py": {"test_nothing_is_shown_where_nobody_looks": Some(but=("pipe",))},
    "compiler/commands/test_train.py": {
        "test_ctrl_c_loses_nothing": Some(every=2),
        "test_what_was_trained_apart_goes_on_in_place": Some(by="test_in_place_and_the_same_bits"),
    },
    "compiler/checking/test_noise.py": {
        "test_predicted_over_seen_is_within_a_factor_of_4": Some(only=("convnext_tiny", "shufflenet_v2", "yolo_v8n")),
    },
    "compiler/checking/test_kinds_of_kernel.py": {
        "test_every_kernel_is_checked_as_one": Some(but=("few channels", "shuffle")),
        "test_kernels_of_a_training_are_checked": Some(by="test_every_kernel_is_checked_as_one[few channels]"),
        "test_a_fault_is_seen_through_what_a_kernel_covers": Some(but=("channels last-norm", "shuffle-p")),
    },
    "compiler/checking/test_steps.py": {
        "test_engines_agree_whatever_they_round": Some(only=("tvm",)),
        "test_engines_agree_on_ranges_that_are_found_at_run_time": Some(only=("tvm",)),
    },
    "compiler/compiling/test_kept.py": {
        "test_what_was_compiled_by_other_sources_than_lie_there_is_not_kept": Some(but=("between",)),
        "test_what_was_altered_is_built_again": Some(but=("flipped-network", "shortened-packed")),
        "test_whatever_differs_makes_another": Some(but=("format-<lambda>", "releases-<lambda>")),
        "test_a_head_that_says_something_else_is_not_believed": Some(every=3),
        "test_without_a_cache_it_is_compiled_each_time": Some(but=("off",)),
    },
    "compiler/engines/test_engines.py": {
        "test_tvm_agrees_on_one_image_and_on_several": Some(but=("resnet20",)),
        "test_engines_agree": Some(only=("convnext_tiny", "shufflenet_v2", "vit_b_16", "yolo_v8n")),
    },
    "compiler/report/test_html_commands.py": {
        "test_bench_has_each_kernel_and_the_roofs_that_were_measured": Some(by="test_bench_has_what_every_engine_takes_for_a_node"),
        "test_but_for_what_was_measured_two_reports_are_the_same": Some(but=("plan lenet5 --macs",)),
    },
    "compiler/targets/test_slow_rows.py": {"test_a_slow_row_is_named_with_its_share": Some(only=("N-cum_sum(%c) {axis=1}-True",))},
    "compiler/training/test_checking.py": {"test_a_long_run_leaves_float64_no_faster_than_rounding_does": Some(but=("onnx",))},
    "compiler/training/test_digits.py": {
        "test_a_small_residual_network_learns_digits": Some(by="test_a_narrow_network_learns_digits"),
        "test_lenet5_learns_digits": Some(by="test_a_narrow_network_learns_digits"),
    },
    "compiler/training/test_trainer.py": {"test_a_run_that_was_stopped_goes_on_to_the_same_bits": Some(every=4)},
    "faults/test_faults.py": {
        "test_a_few_faults_lose_nothing_and_leave_nothing": Some(by="test_one_fault_of_each_kind_loses_nothing_and_leaves_nothing")
    },
    "fuzz/test_differentiated_nets.py": {"test_gradients_survive_every_pass": Some(every=3)},
    "fuzz/test_random_nets.py": {"test_stock_rows_agree_on_transposed_convolutions": Some(but=("20",))},
    "gpu/test_gpu_check.py": {
        "test_each_architecture_has_a_peak_of_its_own": Some(every=2),
        "test_kernels_that_find_peaks_do_what_is_counted": Some(but=("mma.sync",)),
    },
    "passes/analysis/test_memory.py": {
        "test_every_arena_of_the_zoo_meets_its_bound": Some(
            only=(
                "vit_b_16-full-2",
                *(f"{each}-{how}-2" for each in GREAT for how in ("full", "small")),
            )
        ),
        "test_a_great_graph_passes": Some(only=("towers-20000", "wide-20000")),
    },
    "passes/test_recompute.py": {"test_no_bit_changes": Some(only=("tvm",))},
    "docs/test_every_command.py": {
        "test_a_pass_does_what_its_page_shows": Some(every=9),
        "test_what_a_page_shows_is_so": Some(
            only=tuple(
                f"docs/recipes/{each}.md"
                for each in ("c", "dynamic_batch", "measure", "other_machines", "pytorch", "results_differ", "smaller", "weights")
            )
        ),
    },
    "docs/test_read_a_report.py": {
        "test_every_command_of_the_table_wrote_one": Some(by="test_keys_are_those_of_the_page"),
        "test_what_the_page_says_of_resnet50_is_so": Some(by="test_keys_are_those_of_the_page"),
    },
    f"{KERNELS}/test_computed_rows.py": {
        "test_rows": Some(but=("1-1-5-3-processor2-False", "1-9-40-33-processor3-False", "1-9-40-33-processor3-True")),
    },
    f"{KERNELS}/test_transposed.py": {
        "test_networks": Some(only=("N-text3", "2-text3")),
    },
    f"{KERNELS}/test_trees.py": {
        "test_powers": Some(but=("-1.75",)),
        "test_rows": Some(every=3),
        "test_sums_of_many_numbers_of_one_sign": Some(but=("row-shape0", "column-shape2", "image-shape3")),
    },
    f"{KERNELS}/test_winograd_groups.py": {
        "test_agrees_within_its_bound_and_as_predicted": Some(every=3),
    },
    "backends/tvm/cpu/test_plan.py": {
        "test_groups_have_kernels_of_their_own": Some(but=("10-narrow groups", "40-depthwise")),
        "test_a_gate_is_read_where_its_layer_left_it": Some(but=("1",)),
    },
    f"{CUDA}/test_repairs.py": {
        "test_constants_are_printed_exactly": Some(but=("f32",)),
    },
    "compiler/commands/looking/test_look.py": {
        "test_every_way_writes_a_picture_and_says_its_figures": Some(only=("deconvnet", "gradient")),
        "test_an_onnx_file_says_the_same": Some(but=("filters", "gradcam")),
        "test_a_network_for_three_pictures_at_once_says_the_same": Some(but=("best", "gradient", "occlusion")),
    },
    "compiler/commands/test_bad_days.py": {
        "test_closed_streams": Some(but=("<&--0-", ">&--2-cannot write the results")),
    },
    "compiler/commands/test_pictures.py": {
        "test_a_folder_is_run_and_what_is_broken_is_skipped": Some(every=5),
    },
    "compiler/compiling/test_precision.py": {
        "test_a_file_of_float16_is_run_by_onnxruntime_and_loses_what_float16_may": Some(only=("mobilenet_v2",)),
    },
    "compiler/report/test_html_report.py": {
        "test_figures_of_nodes_sum_to_those_of_graphs": Some(but=("googlenet",)),
        "test_every_graph_of_the_trace_is_in_it": Some(but=("googlenet",)),
    },
    "compiler/training/test_going_on.py": {"test_an_interruption_anywhere_loses_no_epoch": Some(but=("write_checkpoint", "Trainer.step"))},
    "compiler/training/test_in_place.py": {
        "test_a_run_broken_off_in_a_step_goes_on_from_its_last_epoch": Some(
            by="compiler/training/test_going_on.py::test_an_interruption_anywhere_loses_no_epoch[Trainer.step]"
        ),
        "test_steps_in_place_have_the_same_bits": Some(but=("adam-residual",)),
        "test_resnet20_of_16_pictures_comes_to_its_share_in_place": Some(by="test_outputs_lie_in_inputs_and_take_no_memory"),
    },
    "gpu/test_supervised.py": {"test_each_step_is_tried_once_whatever_became_of_others": Some(but=("answers0-3",))},
    "ir/ops/test_random_uniform.py": {
        "test_bits_are_the_same_in_every_engine": Some(only=("onnx",)),
        "test_bits_are_the_same_in_a_plain_file": Some(but=("17",)),
    },
    "ir/ops/test_deform.py": {
        "test_a_place_that_is_nowhere_reads_nothing": Some(but=("nan", "-inf", "1e+30")),
        "test_a_file_comes_back_as_it_was": Some(every=3),
    },
    "models/test_pytorch_names.py": {
        "test_scores_are_torchvisions": Some(only=("convnext_tiny",)),
        "test_names_there_and_back": Some(only=("vgg11_bn",)),
    },
    "models/test_zoo.py": {"test_default_graph_verifies_and_reads_back": Some(only=GREAT)},
    "compiler/checking/test_kernels.py": {
        "test_looking_at_values_changes_no_kernel": Some(only=tuple(each for each in GREAT if "vit" not in each)),
    },
    "docs/test_look.py": {"test_every_command_writes_its_picture": Some(but=("filters", "maps", "guided"))},
}


def mark(items: Iterable[pytest.Item], are_whole_files: bool) -> None:
    """Give tests of the table their mark. What is slow anyway is not counted.

    Raises: UsageError for a row that nothing of its file answers to, where files were collected as a whole.
    """
    files, found = set[str](), defaultdict[tuple[str, str], dict[str, pytest.Item]](dict)
    for item in items:
        file, _, name = item.nodeid.removeprefix("tests/").partition("::")
        test, _, case = name.partition("[")
        files.add(file)
        if test in TABLE.get(file, {}) and item.get_closest_marker("slow") is None:
            found[file, test][case.removesuffix("]")] = item
    for file in sorted(files & TABLE.keys()):
        for test, some in TABLE[file].items():
            cases = found[file, test]
            later = some.for_later([*cases])
            if are_whole_files and (some.unknown([*cases]) or not later):
                lacking = ", ".join(some.unknown([*cases])) or "case for later"
                raise pytest.UsageError(f"{__name__} has a row for {test} of {file}, which has no {lacking}")
            for case in later:
                cases[case].add_marker(pytest.mark.more)
    if are_whole_files:
        _hold_stand_ins(items, files)


def _hold_stand_ins(items: Iterable[pytest.Item], files: set[str]) -> None:
    """What stands for a test is there and runs in `make test`. Where its file was not collected nobody knows."""
    is_later = {item.nodeid.removeprefix("tests/"): any(map(item.get_closest_marker, ("more", "slow"))) for item in items}
    for file in sorted(files & TABLE.keys()):
        for test, some in TABLE[file].items():
            where, named, case = some.stand_in(file)
            if some.takes_all and where in files and is_later.get(f"{where}::{named}" + (f"[{case}]" if case else ""), True):
                raise pytest.UsageError(f"{__name__} has {some.by!r} in place of {test} of {file}, which does not run in `make test`")
