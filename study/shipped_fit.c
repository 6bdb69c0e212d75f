#include "study/shipped_fit.h"

#include "base/embedded.h"
#include "base/mem.h"
#include "study/names.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER "study/fits/"
#define SUFFIX ".yaml"

static bool has_end(const char *text, const char *end)
{
    const size_t length = strlen(text), of_end = strlen(end);
    return length >= of_end && !strcmp(text + length - of_end, end);
}

static bool is_fit_path(const char *what)
{
    return strchr(what, '/') || has_end(what, SUFFIX) || has_end(what, ".yml") ||
           (*what && access(what, F_OK) == 0);
}

static void refuse_fit_name(const char *what, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    struct names names = {0};
    for (size_t i = 0; i < embedded_count; i++) {
        const char *path = embedded_files[i].path;
        if (strncmp(path, FOLDER, strlen(FOLDER)))
            continue;
        char *name = mem_copy_text(path + strlen(FOLDER));
        name[strlen(name) - strlen(SUFFIX)] = '\0';
        names_add(&names, name);
        free(name);
    }
    char *list = names_join(&names, ", ");
    error_set(err, EXIT_INPUT, "'%s': no such fit; expected a file or one of %s",
              error_quote(what, quoted), list);
    free(list);
    names_release(&names);
}

struct doc *fit_doc_load(const char *what, struct error *err)
{
    if (is_fit_path(what))
        return doc_load(what, err);
    char *path = mem_format(FOLDER "%s" SUFFIX, what);
    const struct embedded *file = embedded_find(path);
    free(path);
    if (!file)
        return refuse_fit_name(what, err), NULL;
    return doc_load_text(file->path, (const char *)file->bytes, file->length, err);
}
