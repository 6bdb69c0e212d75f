// epsim plot: a figure from a TSV that epsim wrote.
#include "plots/plot.h"

#include "cli/command.h"

struct plot_options {
    struct common_options common;
};

static enum exit_code run_plot(struct command_line *line, struct error *err)
{
    const struct plot_options *options = line->options;
    if (line->word_count != 1 || !options->common.output[0])
        return error_set(err, EXIT_INPUT,
                         "plot: expected: epsim plot FILE.tsv -o FIGURE.svg (or .png, .pdf)"),
               err->code;
    return plot_render(line->words[0], options->common.output, err) ? EXIT_DONE : err->code;
}

static const struct option_part plot_parts[] = {
    {&output_options, offsetof(struct plot_options, common)},
    {&help_options, offsetof(struct plot_options, common)},
};

// clang-format off
static const char plot_page[] =
    "examples:\n"
    "  epsim simulate --tsv traffic -o traffic.tsv && epsim plot traffic.tsv -o traffic.svg\n"
    "  epsim simulate --tsv ranks -o ranks.tsv && epsim plot ranks.tsv -o ranks.png\n"
    "  epsim accuracy rows.csv --tsv accuracy-rows -o rows.tsv && epsim plot rows.tsv -o rows.svg\n"
    "\n"
    "usage: epsim plot FILE.tsv -o FIGURE\n"
    "{flags}\n";
// clang-format on

const struct command command_plot = {
    .name = "plot",
    .summary = "a figure from a TSV that epsim wrote",
    .page = plot_page,
    COMMAND_OPTIONS(plot_options, plot_parts, {.common.output = ""}),
    .run = run_plot,
};
