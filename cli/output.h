// Where results go and what stands above them. Private to cli/.
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "base/table.h"
#include "cli/common.h"
#include "model/cluster.h"

#include <jansson.h>

// Writes to -o through the writer and commits.
typedef void output_writer(void *context, FILE *out);
bool output_write(struct common_options *common, output_writer *writer, void *context,
                  struct error *err);
bool output_json(struct common_options *common, json_t *json, struct error *err);

// Writes a table as --tsv or --json ask, and frees it; json may be NULL (rows of the table then).
bool output_table(struct common_options *common, struct table *table, json_t *json,
                  struct error *err);

// The rows as JSON; under a title, or nothing where there are none. Both free the table.
json_t *json_rows(struct table *table);
void print_part(FILE *out, const char *title, struct table *table);

// --timeline: refuses standard output and the file that -o names; opens it, or leaves *file zeroed
// where it is "".
bool check_timeline(const char *timeline, const struct common_options *common, struct error *err);
bool open_timeline(const char *timeline, const struct common_options *common, struct outfile *file,
                   struct error *err);

// Version, seed, command line and resolved cluster (NULL: none) above a table.
void table_head(struct table *table, uint64_t seed, const struct command_line *line,
                const struct cluster *cluster);

// {"schema", "version", "seed", "command"}: the head of every JSON document.
json_t *json_head(const char *schema, uint64_t seed, const struct command_line *line);

#endif
