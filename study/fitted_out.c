// A fit's outcome as a preset of kind "fits" (study/fitted.h).
#include "study/fitted.h"

#include "base/mem.h"

#include <stdlib.h>

static const char about[] = "# What a fit found, how surely and from what. A calibration wrote it: "
                            "do not edit it by hand.\n";

// Quoted: a cluster may be named by its one-line form.
static void print_list(FILE *out, const struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        fputs(i ? ", " : "[", out);
        field_print_quoted(names->of[i], out);
    }
    fputs("]", out);
}

// With as many digits as reading back exactly takes, in the unit that the preset's own value has:
// field_exact takes whichever is shortest, 47774MB/s where the preset says 47.774GB/s.
static char *exact(const struct parameter *parameter, char *buffer)
{
    for (int digits = 5; digits <= 17; digits++) {
        parameter_print(parameter, parameter->start, digits, buffer);
        if (parameter_parse(parameter->keys[0], buffer) == parameter->start)
            break;
    }
    return buffer;
}

static void print_parameters(FILE *out, const struct fitted *fitted)
{
    char text[FIELD_TEXT_BYTES];
    fputs("parameters:\n", out);
    for (size_t p = 0; p < fitted->parameter_count; p++) {
        const struct parameter *parameter = &fitted->parameters[p];
        fprintf(out, "  - {key: %s, ", parameter->keys[0]->key);
        if (parameter->keys[1])
            fprintf(out, "also: %s, ", parameter->keys[1]->key);
        fprintf(out, "%s: ", parameter_part_names[parameter->part]);
        print_list(out, &parameter->presets);
        fprintf(out, ", value: %s}\n", exact(parameter, text));
    }
}

static void print_covariance(FILE *out, const struct fitted *fitted)
{
    fputs("covariance:\n", out);
    for (size_t a = 0; a < fitted->parameter_count; a++) {
        fputs("  - \"", out);
        for (size_t b = 0; b <= a; b++)
            fprintf(out, "%s%.5g", b ? " " : "",
                    fitted->covariance[a * fitted->parameter_count + b]);
        fputs("\"\n", out);
    }
}

static void print_spread(FILE *out, const struct fitted_spread *spread)
{
    fprintf(out, "      - {nodes: %u, rows: %zu, freedom: %.4g", spread->nodes, spread->rows,
            spread->freedom);
    for (size_t e = 0; e < ENGINES; e++)
        if (spread->of[e] > 0)
            fprintf(out, ", %s_spread: %.4g", engine_table[e]->name, spread->of[e]);
    fputs("}\n", out);
}

static void print_versions(FILE *out, const struct fitted_group *group)
{
    if (group->version_count)
        fputs("\n    versions:", out);
    for (size_t v = 0; v < group->version_count; v++) {
        fprintf(out, "\n      - {version: %s, clusters: ", group->versions[v].version);
        print_list(out, &group->versions[v].clusters);
        fputs("}", out);
    }
}

static void print_group(FILE *out, const struct fitted_group *group)
{
    fprintf(out, "  - dispatcher: %s\n    phase: %s\n    spreads:\n", group->dispatcher,
            phase_names[group->phase]);
    for (size_t i = 0; i < group->spread_count; i++)
        print_spread(out, &group->spreads[i]);
    char *dtypes = fitted_dtypes(group->dtypes);
    fputs("    clusters: ", out);
    print_list(out, &group->clusters);
    print_versions(out, group);
    fprintf(out, "\n    dtypes: [%s]", dtypes);
    free(dtypes);
    for (enum span_key key = 0; key < SPAN_KEYS; key++)
        fprintf(out, "\n    %s: [%llu, %llu]", span_keys[key],
                (unsigned long long)group->spans[key].min,
                (unsigned long long)group->spans[key].max);
    fputs("\n    places: [", out);
    for (size_t i = 0; i < group->place_count; i++)
        fprintf(out, "%s[%u, %llu, %llu]", i ? ", " : "", group->places[i].nodes,
                (unsigned long long)group->places[i].sizes.min,
                (unsigned long long)group->places[i].sizes.max);
    fputs("]\n", out);
}

static void print_origin(FILE *out, const struct provenance *origin)
{
    fputs("data: ", out);
    field_print_quoted(origin->fit, out);
    if (origin->only || origin->except)
        fprintf(out, "\n%s: %s\nseed: %llu", origin->only ? "only" : "except",
                origin->only ? origin->only : origin->except, (unsigned long long)origin->seed);
    fputc('\n', out);
}

void fitted_print(FILE *out, const struct calibration *calibration, const struct provenance *origin)
{
    struct fitted fitted;
    fitted_of(&fitted, calibration);
    fputs(about, out);
    print_origin(out, origin);
    print_parameters(out, &fitted);
    print_covariance(out, &fitted);
    fputs(fitted.group_count ? "groups:\n" : "groups: []\n", out);
    for (size_t g = 0; g < fitted.group_count; g++)
        print_group(out, &fitted.groups[g]);
    fitted_release(&fitted);
}
