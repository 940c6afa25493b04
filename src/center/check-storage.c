/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks of the datastores that hold the VM's files. */
#include "check-internal.h"

#include <string.h>

typedef enum {
    USE_READ,  /* its content at the time of reading is all that matters: an ISO image, a kernel */
    USE_DISK,  /* the guest holds on to what it has read of it */
    USE_WRITE, /* and writes */
} UseKind;

/* A datastore of the VM, once, with all that it holds of it. */
typedef struct {
    const char *datastore; /* borrowed from the configuration */
    GString *files;        /* "root (/disks/0), cd0 (/cdroms/0)" */
    UseKind kind;          /* the strongest */
} Use;

static void
clear_use(void *data)
{
    g_string_free(((Use *)data)->files, TRUE);
}

static void
add_use(GArray *uses, const GwFileRef *file, UseKind kind, const char *pointer, int index, const char *id)
{
    if (!file->datastore)
        return;
    Use *use = NULL;
    for (guint i = 0; i < uses->len && !use; i++)
        if (strcmp(g_array_index(uses, Use, i).datastore, file->datastore) == 0)
            use = &g_array_index(uses, Use, i);
    if (!use) {
        Use first = {.datastore = file->datastore, .files = g_string_new(NULL)};
        g_array_append_val(uses, first);
        use = &g_array_index(uses, Use, uses->len - 1);
    }
    use->kind = MAX(use->kind, kind);
    g_string_append_printf(use->files, "%s%s (%s", use->files->len ? ", " : "", id, pointer);
    if (index >= 0)
        g_string_append_printf(use->files, "/%d", index);
    g_string_append_c(use->files, ')');
}

static void
add_boot_uses(GArray *uses, const GwBootConfig *boot)
{
    if (boot->kind == GW_BOOT_UEFI)
        add_use(uses, &boot->uefi_vars, USE_WRITE, "/boot/vars", -1, "the UEFI variables");
    if (boot->kind != GW_BOOT_KERNEL)
        return;
    add_use(uses, &boot->kernel, USE_READ, "/boot/kernel", -1, "the kernel");
    if (boot->initrd.path)
        add_use(uses, &boot->initrd, USE_READ, "/boot/initrd", -1, "the initial RAM disk");
}

/* Of Use, in the order of the configuration's disks, boot files and CD drives. */
static GArray *
uses_of(const GwVmConfig *config)
{
    GArray *uses = g_array_new(FALSE, FALSE, sizeof(Use));
    g_array_set_clear_func(uses, clear_use);
    for (guint i = 0; i < config->disks->len; i++) {
        const GwDiskConfig *disk = &g_array_index(config->disks, GwDiskConfig, i);
        add_use(uses, &disk->file, disk->read_only ? USE_DISK : USE_WRITE, "/disks", (int)i, disk->id);
    }
    add_boot_uses(uses, &config->boot);
    for (guint i = 0; i < config->cdroms->len; i++) {
        const GwCdromConfig *cdrom = &g_array_index(config->cdroms, GwCdromConfig, i);
        if (cdrom->has_file)
            add_use(uses, &cdrom->file, USE_READ, "/cdroms", (int)i, cdrom->id);
    }
    return uses;
}

static const GwDatastore *
find_datastore(const GwHostFacts *host, const char *name)
{
    for (guint i = 0; i < host->datastores->len; i++) {
        const GwDatastore *datastore = &g_array_index(host->datastores, GwDatastore, i);
        if (strcmp(datastore->name, name) == 0)
            return datastore;
    }
    return NULL;
}

static const char *
find_near_datastore(const GwHostFacts *host, const char *name)
{
    for (guint i = 0; i < host->datastores->len; i++) {
        const GwDatastore *datastore = &g_array_index(host->datastores, GwDatastore, i);
        if (gw_check_names_are_near(datastore->name, name))
            return datastore->name;
    }
    return NULL;
}

static char *
describe(const GwHostFacts *host, const char *name)
{
    const GwDatastore *datastore = find_datastore(host, name);
    if (!datastore)
        return NULL;
    return g_strdup_printf("'%s' at %s%s%s%s%s%s", name, datastore->path ? datastore->path : "?",
                           datastore->is_read_only ? ", read-only" : "",
                           datastore->identity ? ", storage " : "",
                           datastore->identity ? datastore->identity : "", datastore->error ? ", " : "",
                           datastore->error ? datastore->error : "");
}

static void
set_evidence(const GwCheckRun *run, GwFinding *finding, const char *datastore)
{
    finding->source = describe(run->source, datastore);
    finding->destination = describe(run->destination, datastore);
}

static char *
list_datastores(const GwHostFacts *host)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < host->datastores->len; i++)
        g_string_append_printf(text, "%s'%s'", i ? ", " : "datastores ",
                               g_array_index(host->datastores, GwDatastore, i).name);
    return g_strdup(text->len ? text->str : "no datastore");
}

void
gw_check_datastore_missing(GwCheckRun *run)
{
    const GwHostFacts *there = run->destination;
    g_autoptr(GArray) uses = uses_of(run->vm->config);
    for (guint i = 0; i < uses->len; i++) {
        const Use *use = &g_array_index(uses, Use, i);
        if (find_datastore(there, use->datastore))
            continue;
        const char *near = find_near_datastore(there, use->datastore);
        g_autofree char *but = near ? g_strdup_printf("; '%s' there differs in case", near) : NULL;
        GwFinding *finding = gw_check_add(run, "%s has no datastore '%s', which holds %s%s", there->name,
                                          use->datastore, use->files->str, but ? but : "");
        finding->source = describe(run->source, use->datastore);
        finding->destination = list_datastores(there);
        finding->repair =
            near
                ? gw_check_host_repair(there, "rename [datastore %s] to [datastore %s]", near, use->datastore)
                : gw_check_host_repair(there,
                                       "[datastore %s] with path= the directory where the same "
                                       "storage is mounted there",
                                       use->datastore);
    }
}

void
gw_check_datastore_unusable(GwCheckRun *run)
{
    const GwHostFacts *there = run->destination;
    g_autoptr(GArray) uses = uses_of(run->vm->config);
    for (guint i = 0; i < uses->len; i++) {
        const Use *use = &g_array_index(uses, Use, i);
        const GwDatastore *datastore = find_datastore(there, use->datastore);
        if (!datastore || !datastore->error)
            continue;
        GwFinding *finding = gw_check_add(run, "datastore '%s' of %s, which holds %s, cannot be used: %s",
                                          use->datastore, there->name, use->files->str, datastore->error);
        set_evidence(run, finding, use->datastore);
        finding->repair = g_strdup_printf("on %s, see that the storage is mounted at %s ('mount %s'), then "
                                          "'godwit-host reload'",
                                          there->name, datastore->path ? datastore->path : "its path",
                                          datastore->path ? datastore->path : "PATH");
    }
}

void
gw_check_datastore_read_only(GwCheckRun *run)
{
    const GwHostFacts *there = run->destination;
    g_autoptr(GArray) uses = uses_of(run->vm->config);
    for (guint i = 0; i < uses->len; i++) {
        const Use *use = &g_array_index(uses, Use, i);
        const GwDatastore *datastore = find_datastore(there, use->datastore);
        if (!datastore || datastore->error || !datastore->is_read_only || use->kind != USE_WRITE)
            continue;
        GwFinding *finding =
            gw_check_add(run, "datastore '%s' is read-only on %s, and the guest writes there: %s",
                         use->datastore, there->name, use->files->str);
        set_evidence(run, finding, use->datastore);
        finding->repair = g_strdup_printf("on %s, 'mount -o remount,rw %s'", there->name,
                                          datastore->path ? datastore->path : "PATH");
    }
}

/* Whether the two ends have one storage behind a name, as far as they can tell. */
typedef enum { STORAGE_SAME, STORAGE_DIFFERENT, STORAGE_UNKNOWN, STORAGE_UNUSABLE } Sameness;

static Sameness
compare_storage(const GwCheckRun *run, const char *name)
{
    const GwDatastore *here = find_datastore(run->source, name);
    const GwDatastore *there = find_datastore(run->destination, name);
    if (!there || there->error)
        return STORAGE_UNUSABLE; /* said elsewhere */
    if (!here || here->error || !here->identity || !there->identity)
        return STORAGE_UNKNOWN;
    return strcmp(here->identity, there->identity) == 0 ? STORAGE_SAME : STORAGE_DIFFERENT;
}

void
gw_check_datastore_different(GwCheckRun *run)
{
    g_autoptr(GArray) uses = uses_of(run->vm->config);
    for (guint i = 0; i < uses->len; i++) {
        const Use *use = &g_array_index(uses, Use, i);
        if (use->kind == USE_READ || compare_storage(run, use->datastore) != STORAGE_DIFFERENT)
            continue;
        GwFinding *finding = gw_check_add(
            run,
            "datastore '%s', which holds %s, is another storage on %s than on %s: the guest would find other "
            "disks there",
            use->datastore, use->files->str, run->destination->name, run->source->name);
        set_evidence(run, finding, use->datastore);
        finding->repair = gw_check_host_repair(
            run->destination,
            "let path of [datastore %s] be where the storage of %s is mounted, and give the "
            "other one another name",
            use->datastore, run->source->name);
    }
}

void
gw_check_datastore_unverified(GwCheckRun *run)
{
    g_autoptr(GArray) uses = uses_of(run->vm->config);
    for (guint i = 0; i < uses->len; i++) {
        const Use *use = &g_array_index(uses, Use, i);
        if (use->kind == USE_READ || compare_storage(run, use->datastore) != STORAGE_UNKNOWN)
            continue;
        GwFinding *finding = gw_check_add(
            run, "whether datastore '%s', which holds %s, is the same storage on %s and on %s cannot be told",
            use->datastore, use->files->str, run->source->name, run->destination->name);
        set_evidence(run, finding, use->datastore);
        finding->repair = g_strdup_printf("compare what is mounted: 'findmnt -T PATH' on %s and on %s",
                                          run->source->name, run->destination->name);
    }
}

/* A file that is only read need not be on the same storage, but has to be the same. */
static void
report_file(GwCheckRun *run, const GwFileRef *file, const char *pointer, const char *what)
{
    Sameness sameness = compare_storage(run, file->datastore);
    if (sameness == STORAGE_SAME || sameness == STORAGE_UNUSABLE)
        return;
    GwFinding *finding =
        gw_check_add(run, "%s (%s) needs %s of datastore '%s', which has to be the same on %s", what, pointer,
                     file->path, file->datastore, run->destination->name);
    set_evidence(run, finding, file->datastore);
    finding->repair = g_strdup_printf("compare 'sha256sum' of it on %s and on %s, or have the same storage "
                                      "mounted on both",
                                      run->source->name, run->destination->name);
}

void
gw_check_cdrom_file(GwCheckRun *run)
{
    const GArray *cdroms = run->vm->config->cdroms;
    for (guint i = 0; i < cdroms->len; i++) {
        const GwCdromConfig *cdrom = &g_array_index(cdroms, GwCdromConfig, i);
        g_autofree char *pointer = g_strdup_printf("/cdroms/%u", i);
        if (cdrom->has_file)
            report_file(run, &cdrom->file, pointer, cdrom->id);
    }
}

void
gw_check_boot_file(GwCheckRun *run)
{
    const GwBootConfig *boot = &run->vm->config->boot;
    if (boot->kind != GW_BOOT_KERNEL)
        return;
    report_file(run, &boot->kernel, "/boot/kernel", "the next reset of the guest");
    if (boot->initrd.path)
        report_file(run, &boot->initrd, "/boot/initrd", "the next reset of the guest");
}
