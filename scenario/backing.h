// Which measured rows stand behind which dispatcher, and on which GPUs: presets of kind "rows",
// which a calibration writes beside what it found (study/fitted.h), and of kind "vendors".
//
//     rows:                    # model/presets/rows/NAME.yaml
//       - {dispatcher: deepep-ll, cluster: h800-cx7, gpu: h800, architecture: hopper, nodes: 2,
//          gpus_per_node: 8, dispatch: 1, combine: 1, min_tokens: 128, max_tokens: 128}
//
//     architectures: "ampere ada hopper"   # model/presets/vendors/nvidia.yaml: words
//     unnamed: hopper          # stands for a cluster that names neither GPU nor architecture
#ifndef SCENARIO_BACKING_H
#define SCENARIO_BACKING_H

#include "base/field.h"
#include "model/cluster.h"

#include <stddef.h>
#include <stdint.h>

// Rows of one dispatcher on one shape of a cluster.
struct backing_row {
    char dispatcher[FIELD_TEXT_BYTES], cluster[FIELD_TEXT_BYTES];
    char gpu[FIELD_TEXT_BYTES], architecture[FIELD_TEXT_BYTES];
    uint32_t nodes, gpus_per_node;
    uint32_t dispatch, combine;      // rows of each phase
    uint32_t min_tokens, max_tokens; // per rank
};
extern const struct field backing_fields[]; // as in files
extern const size_t backing_field_count;

// How near to a question the rows are, from nearest to farthest.
enum backing_reach {
    BACKING_CLUSTER,      // of this very cluster, or within one node of GPUs of its model
    BACKING_ARCHITECTURE, // of GPUs of the same generation
    BACKING_VENDOR,       // of the same vendor
    BACKING_ANY,
};

struct vendor {
    char name[FIELD_TEXT_BYTES], architectures[FIELD_TEXT_BYTES], unnamed[FIELD_TEXT_BYTES];
};

struct backing {
    struct backing_row *rows;
    size_t count;
    struct vendor *vendors;
    size_t vendor_count;
};

// Reads every preset of both kinds. Errors: file:line: key. Released by backing_release, after a
// failure too.
bool backing_load(struct backing *backing, struct error *err);
void backing_release(struct backing *backing);

// Whether the row stands behind what is asked on the cluster, in its shape of now. A layer across
// nodes is told by rows across nodes, and one within a node by rows within one; where they are of
// another cluster, of a third as many GPUs at least. Rows of one phase alone tell nothing of a
// layer.
bool backing_holds(const struct backing *backing, const struct backing_row *row,
                   const struct cluster *cluster, enum backing_reach reach);

// The cluster's architecture: as it says, else that of rows of its GPU; "": not known.
const char *backing_architecture(const struct backing *backing, const struct cluster *cluster);

// Who makes GPUs of an architecture; NULL: not known.
const struct vendor *backing_vendor(const struct backing *backing, const char *architecture);

#endif
