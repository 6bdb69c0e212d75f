// A fit's outcome as a preset of kind "fits" (study/fitted.h).
#include "study/fitted.h"

#include "base/mem.h"
#include "base/outfile.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char about[] = "# What a fit found, how surely and from what (study/fitted.h). "
                            "Written by epsim calibrate --write.\n";

// Quoted: a cluster may be named by its one-line form.
static void print_list(FILE *out, char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fputs(i ? ", " : "[", out);
        field_print_quoted(names[i], out);
    }
    fputs("]", out);
}

// With as many digits as reading back exactly takes, in the unit that the preset's own value has:
// field_exact takes whichever is shortest, 47774MB/s where the preset says 47.774GB/s.
static char *exact(const struct parameter *parameter, char *buffer)
{
    union parameter_object object;
    struct error err;
    for (int digits = 5; digits <= 17; digits++) {
        parameter_print(parameter, parameter->start, digits, buffer);
        if (field_parse(parameter->field, buffer, &object, &err) &&
            parameter_get(parameter->field, &object) == parameter->start)
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
        fprintf(out, "  - {key: %s, ", parameter->field->key);
        if (parameter->also)
            fprintf(out, "also: %s, ", parameter->also->key);
        fputs(parameter->part == PART_CLUSTER ? "clusters: " : "dispatchers: ", out);
        print_list(out, parameter->presets, parameter->preset_count);
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

static void print_span(FILE *out, const struct span *span)
{
    fprintf(out, "[%llu, %llu]", (unsigned long long)span->min, (unsigned long long)span->max);
}

static void print_dtypes(FILE *out, uint32_t dtypes)
{
    const char *separator = "[";
    for (size_t d = 0; dtype_names[d]; d++)
        if (dtypes & 1u << d) {
            fprintf(out, "%s%s", separator, dtype_names[d]);
            separator = ", ";
        }
    fputs("]", out);
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

static void print_group(FILE *out, const struct fitted_group *group)
{
    fprintf(out, "  - dispatcher: %s\n    phase: %s\n    spreads:\n", group->dispatcher,
            phase_names[group->phase]);
    for (size_t i = 0; i < group->spread_count; i++)
        print_spread(out, &group->spreads[i]);
    fputs("    clusters: ", out);
    print_list(out, group->clusters, group->cluster_count);
    fputs("\n    dtypes: ", out);
    print_dtypes(out, group->dtypes);
    for (enum span_key key = 0; key < SPAN_KEYS; key++) {
        fprintf(out, "\n    %s: ", span_keys[key]);
        print_span(out, &group->spans[key]);
    }
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

static void print_fitted(FILE *out, const struct fitted *fitted, const struct provenance *origin)
{
    fputs(about, out);
    print_origin(out, origin);
    print_parameters(out, fitted);
    print_covariance(out, fitted);
    fputs("groups:\n", out);
    for (size_t g = 0; g < fitted->group_count; g++)
        print_group(out, &fitted->groups[g]);
}

bool fitted_write(const struct calibration *calibration, const char *folder,
                  const struct provenance *origin, struct error *err)
{
    char *shelf = mem_format("%s/fits", folder);
    char *path = mem_format("%s/%s.yaml", shelf, calibration->name);
    struct outfile file = {0};
    bool ok = mkdir(shelf, 0777) == 0 || errno == EEXIST ||
              error_set(err, EXIT_INPUT, "%s: %s", shelf, strerror(errno));
    ok = ok && outfile_open(&file, path, err);
    if (ok) {
        struct fitted fitted;
        fitted_of(&fitted, calibration);
        print_fitted(file.stream, &fitted, origin);
        fitted_release(&fitted);
        ok = outfile_commit(&file, err);
    }
    free(shelf);
    free(path);
    return ok;
}
