// epsim plot: a figure from a TSV that epsim wrote.
#include "cli/cli.h"
#include "plots/plot.h"

enum exit_code run_plot(struct invocation *invocation, struct error *err)
{
    if (invocation->word_count != 1 || !invocation->output[0])
        return error_set(err, EXIT_INPUT,
                         "plot: expected: epsim plot FILE.tsv -o FIGURE.svg (or .png, .pdf)"),
               err->code;
    return plot_render(invocation->words[0], invocation->output, err) ? EXIT_DONE : err->code;
}
