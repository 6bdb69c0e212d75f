// epsim trace import: what serving engines wrote, as a native trace.
#include "cli/command.h"
#include "cli/workload.h"
#include "traces/import.h"

#include <string.h>

struct import_options {
    uint64_t seed;
    char model[FIELD_TEXT_BYTES];
    char shape[FIELD_TEXT_BYTES];
    enum import_order order;
    enum import_axes axes;
    uint32_t ep;
    char tokens[FIELD_TEXT_BYTES];
    char source[FIELD_TEXT_BYTES], licence[FIELD_TEXT_BYTES];
    struct common_options common;
};

#define AT(member) offsetof(struct import_options, member)

static const struct option_row input_rows[] = {
    {OPTION_TEXT("model", AT(model), "MODEL",
                 "preset, epsim YAML or config.json: the shape that the input leaves unsaid, and "
                 "its layers")},
    {OPTION_TEXT("shape", AT(shape), "SHAPE",
                 "of raw int32 ids: LAYERS,TOPK or TOKENS,LAYERS,TOPK")},
    {OPTION_CHOICE("order", AT(order), "ORDER", import_order_names,
                   "requests: one after another; positions: side by side, request i on rank i mod "
                   "EP, its n-th token in step n")},
    {OPTION_CHOICE(
        "axes", AT(axes), "ORDER", import_axes_names,
        "of arrays of three dimensions: steps (or tokens) first, or layers first (auto: as "
        "the model's layers fit)")},
    {OPTION_NUMBER(
        "ep", FIELD_U32, AT(ep), "N", 1, 1024,
        "ranks that positions, or counts and steps of all ranks together, are shared out "
        "to")},
    {OPTION_TEXT("tokens", AT(tokens), "N",
                 "of counts: draw that many tokens a GPU and step by their odds (all that were "
                 "counted)")},
};
static const struct option_group input_options = {HEADING_WORKLOAD, OPTION_ROWS(input_rows)};

static const struct option_row manifest_rows[] = {
    {OPTION_TEXT("source", AT(source), "TEXT",
                 "what trace.yaml says of where it comes from (the format and the input's name)")},
    {OPTION_TEXT("licence", AT(licence), "TEXT", "what trace.yaml says of that")},
};
static const struct option_group manifest_options = {HEADING_OUTPUT, OPTION_ROWS(manifest_rows)};

static void say(const struct import_report *report, const char *folder, bool drawn)
{
    notice("%s: %s, %llu tokens, %u MoE layers, top-%u of %u experts", folder, report->format,
           (unsigned long long)report->tokens, report->layers, report->topk, report->experts);
    if (report->steps)
        notice("%llu steps, in steps.npy", (unsigned long long)report->steps);
    if (report->left_out)
        notice("%u layers left out: they hold no choices", report->left_out);
    if (report->synthesised)
        notice("synthesised from counts: loads are %s, which token took which expert is drawn",
               drawn ? "drawn by their odds" : "as counted");
    if (report->dropped)
        notice("%llu choices dropped: not recorded, or missing from the counts",
               (unsigned long long)report->dropped);
}

static enum exit_code run_trace_import(struct command_line *line, struct error *err)
{
    const struct import_options *options = line->options;
    const char *folder = options->common.output;
    uint32_t tokens = 0;
    struct import_report report;
    if (!line->word_count)
        return error_set(err, EXIT_INPUT, "trace import: expected one file or folder, or several"),
               err->code;
    if (!folder[0] || !strcmp(folder, "-"))
        return error_set(err, EXIT_INPUT, "trace import: expected --output FOLDER"), err->code;
    if (!read_tokens(options->tokens, false, &tokens, err))
        return err->code;
    const struct import_def def = {.inputs = (const char *const *)line->words,
                                   .input_count = line->word_count,
                                   .folder = folder,
                                   .model = options->model,
                                   .shape = options->shape,
                                   .source = options->source,
                                   .licence = options->licence,
                                   .order = options->order,
                                   .axes = options->axes,
                                   .ranks = options->ep,
                                   .tokens = tokens,
                                   .seed = options->seed};
    if (!trace_import(&def, &report, err))
        return err->code;
    say(&report, folder, def.tokens > 0);
    return EXIT_DONE;
}

static const struct option_part import_parts[] = {
    {&scenario_seed_options, AT(seed)},
    {&presets_options, AT(common)},
    {&input_options, 0},
    {&manifest_options, 0},
    {&folder_options, AT(common)},
    {&help_options, AT(common)},
};

// clang-format off
static const char trace_import_page[] =
    "examples:\n"
    "  epsim trace import request-*.npy --model deepseek-v3 -o my-trace\n"
    "  epsim trace import statistics/ -o my-trace        TensorRT-LLM's meta_info.json and ranks\n"
    "\n"
    "usage: epsim trace import INPUT... -o FOLDER [flags]\n"
    "{flags}\n"
    "\n"
    "formats, told by content (all inputs of one; several are requests, in order):\n"
    "  .npy, .npz      routed_experts [tokens, layers, k]; counts [steps, layers, experts]; Megatron-\n"
    "                  Core's expert loads, one .npz a rank\n"
    "  JSON            answers with routed_experts (vLLM, SGLang); per-request lists of steps;\n"
    "                  logical_count (SGLang's expert location); load_history\n"
    "  JSON Lines      any of those, one a line; vLLM's EPLB statistics; logs with a record a token\n"
    "                  and layer (layer, topk_ids and what is known of step, rank, req_id, token_idx), or\n"
    "                  a layer's counts (layer, expert_counts, step, rank)\n"
    "  CSV             layer,expert,count; or a row a token and layer: step,rank,layer,ids\n"
    "  base64          of a .npy file, or of raw int32 with --shape; raw int32 itself\n"
    "  a folder        TensorRT-LLM's expert statistics, counts or raw\n"
    "  SGLang's .pt    by python3 traces/sglang_pt.py, which writes a trace itself\n";
// clang-format on

const struct command command_trace_import = {
    .name = "trace import",
    .summary = "routing that serving engines wrote, as a trace",
    .page = trace_import_page,
    COMMAND_OPTIONS(import_options, import_parts, {.seed = SCENARIO_SEED}),
    .run = run_trace_import,
};
