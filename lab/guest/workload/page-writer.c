/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes verified pages to a store at a rate, and checks what it wrote. */
#include "page-writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "options.h"
#include "pacer.h"
#include "page-tally.h"
#include "writer-status.h"

/* Between two looks at the queue of requests: about a millisecond's work under TCG at rate=max. */
#define MAX_BATCH_PAGES 64

typedef enum {
    REQUEST_PAUSE,
    REQUEST_RESUME,
    REQUEST_RATE,
    REQUEST_WRITE,
    REQUEST_RESET_GAP,
    REQUEST_VERIFY
} RequestKind;

/* On the stack of the client's thread that waits for it. */
typedef struct Request {
    RequestKind kind;
    uint64_t rate_bytes_per_s;
    uint64_t first_page, n_pages;
    unsigned area; /* a sweep's place */
    uint64_t page_no;
    GwPageTally tally;
    const char *problem; /* why it was refused */
    bool is_done;
    struct Request *next;
} Request;

struct GwPageWriter {
    /* set before start */
    GwPageWriterConfig config;
    GwPageStore store;
    GwPageArea *areas; /* borrowed */
    unsigned n_areas;
    uint64_t start_ns;

    /* owned by the writer's thread */
    GwWriterStatus now;
    GwPacer write_pacer;
    GwPacer check_pacer;
    uint64_t cursor;
    uint64_t random_state;
    unsigned check_area;
    uint64_t check_page;
    uint64_t next_sync_ns;
    uint64_t n_until_check;
    Request *sweeps; /* being worked on, the first one first */
    GwPageReporter reporter;

    /* guarded by lock */
    pthread_mutex_t lock;
    pthread_cond_t wake_writer;
    pthread_cond_t wake_clients;
    Request *queue;
    GwWriterStatus published;
    GwWriterRate recent;
};

/* --- pages --- */

static void
verify_pages(GwPageWriter *self, GwPageTally *tally, GwPageArea *area, uint64_t first, uint64_t count,
             bool only_news)
{
    const uint8_t *pages;
    int r = self->store.view(self->store.context, area, first, count, &pages);
    if (r < 0 && count > 1) {
        /* One bad block must not hide its neighbours. */
        for (uint64_t i = 0; i < count; i++) {
            verify_pages(self, tally, area, first + i, 1, only_news);
        }
        return;
    }
    if (r < 0) {
        gw_page_tally_add_io_error(tally, &self->reporter, area, first, -r);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        GwPageFinding found =
            gw_verified_page_verify(pages + i * GW_VERIFIED_PAGE_SIZE_BYTES, &area->region, first + i,
                                    gw_page_area_expected_generation(area, first + i));
        gw_page_tally_add(tally, &self->reporter, area, first + i, found, only_news);
        tally->n_verified++;
    }
}

static void
check_before_write(GwPageWriter *self, GwPageArea *area, uint64_t page_no)
{
    if (self->n_until_check > 1) {
        self->n_until_check--;
        return;
    }
    self->n_until_check = self->store.check_one_in;
    if (self->store.check_one_in > 1) {
        verify_pages(self, &self->now.tally, area, page_no, 1, true);
        return;
    }
    const uint8_t *page;
    int r = self->store.view(self->store.context, area, page_no, 1, &page);
    if (r < 0) {
        gw_page_tally_add_io_error(&self->now.tally, &self->reporter, area, page_no, -r);
        return;
    }
    GwPageVerdict verdict = gw_verified_page_check_header(page, &area->region, page_no,
                                                          gw_page_area_expected_generation(area, page_no));
    if (verdict != GW_PAGE_OK) {
        /* Something is wrong; the full look tells what, and where. */
        GwPageFinding found = gw_verified_page_verify(page, &area->region, page_no,
                                                      gw_page_area_expected_generation(area, page_no));
        gw_page_tally_add(&self->now.tally, &self->reporter, area, page_no, found, true);
    }
}

static void
write_page(GwPageWriter *self, uint64_t page_no)
{
    GwPageArea *area = &self->areas[0];
    check_before_write(self, area, page_no);
    uint64_t generation = (uint64_t)area->generations[page_no] + 1;
    int r = self->store.write(self->store.context, area, page_no, generation, area->is_wrong[page_no] != 0);
    if (r < 0) {
        /* Old, new or half: not known. The next write of this page does not build upon it. */
        self->now.n_write_errors++;
        gw_page_tally_add_io_error(&self->now.tally, &self->reporter, area, page_no, -r);
        area->is_wrong[page_no] = 1;
        return;
    }
    area->generations[page_no] = (uint32_t)generation;
    area->is_wrong[page_no] = 0;
    self->now.n_written++;
}

/* --- the writer's thread --- */

static uint64_t
next_page(GwPageWriter *self)
{
    uint64_t n_pages = self->areas[0].n_pages;
    if (self->config.order == GW_ORDER_ROUND_ROBIN) {
        uint64_t page_no = self->cursor++;
        if (self->cursor == n_pages) {
            self->cursor = 0;
        }
        return page_no;
    }
    /* xorshift64 (Marsaglia 2003), scaled by the high half of a product: no division on the way to a page. */
    uint64_t x = self->random_state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    self->random_state = x;
    return (uint64_t)(((unsigned __int128)x * n_pages) >> 64);
}

static bool
is_writing(const GwPageWriter *self)
{
    return !self->now.is_paused && self->now.rate_bytes_per_s != 0 && self->areas[0].n_pages != 0;
}

static void
write_batch(GwPageWriter *self, uint64_t now_ns)
{
    if (!is_writing(self)) {
        return;
    }
    uint64_t n_due = gw_pacer_due(&self->write_pacer, now_ns);
    if (n_due == 0) {
        return;
    }
    uint64_t n = n_due < MAX_BATCH_PAGES ? n_due : MAX_BATCH_PAGES;
    if (self->now.last_batch_ns != 0 && now_ns - self->now.last_batch_ns > self->now.longest_gap_ns) {
        self->now.longest_gap_ns = now_ns - self->now.last_batch_ns;
    }
    self->now.last_batch_ns = now_ns;
    for (uint64_t i = 0; i < n; i++) {
        write_page(self, next_page(self));
    }
    gw_pacer_spend(&self->write_pacer, n);
}

static void
check_some(GwPageWriter *self, uint64_t now_ns)
{
    uint64_t n_due = gw_pacer_due(&self->check_pacer, now_ns);
    uint64_t n_left = n_due < GW_PAGE_STORE_CHUNK ? n_due : GW_PAGE_STORE_CHUNK;
    gw_pacer_spend(&self->check_pacer, n_left);
    for (unsigned n_areas_seen = 0; n_left > 0 && n_areas_seen <= self->n_areas;) {
        GwPageArea *area = &self->areas[self->check_area];
        uint64_t n = area->n_pages - self->check_page;
        n = n < n_left ? n : n_left;
        if (n > 0) {
            verify_pages(self, &self->now.tally, area, self->check_page, n, true);
        }
        self->check_page += n;
        n_left -= n;
        if (self->check_page == area->n_pages) {
            self->check_page = 0;
            self->check_area = (self->check_area + 1) % self->n_areas;
            n_areas_seen++;
        }
    }
}

/* One chunk of the first sweep. True if there is nothing left to do in it. */
static bool
sweep_some(GwPageWriter *self, Request *sweep)
{
    GwPageArea *area = &self->areas[sweep->area];
    uint64_t n = area->n_pages - sweep->page_no;
    n = n < GW_PAGE_STORE_CHUNK ? n : GW_PAGE_STORE_CHUNK;
    if (n > 0) {
        verify_pages(self, &sweep->tally, area, sweep->page_no, n, false);
    }
    sweep->page_no += n;
    if (sweep->page_no == area->n_pages) {
        sweep->page_no = 0;
        sweep->area++;
    }
    return sweep->area == self->n_areas;
}

static void
sync_if_due(GwPageWriter *self, uint64_t now_ns)
{
    if (now_ns < self->next_sync_ns) {
        return;
    }
    int r = self->store.sync(self->store.context);
    if (r < 0) {
        self->now.n_write_errors++;
        gw_page_tally_add_io_error(&self->now.tally, &self->reporter, &self->areas[0], 0, -r);
    }
    self->now.n_syncs++;
    self->next_sync_ns = gw_now_ns() + self->config.sync_interval_ns;
}

static void
start_pacing(GwPageWriter *self, uint64_t now_ns)
{
    gw_pacer_start(&self->write_pacer, self->now.rate_bytes_per_s, GW_VERIFIED_PAGE_SIZE_BYTES, now_ns);
    self->now.last_batch_ns = 0; /* a pause on demand is not a gap */
}

static void
write_exactly(GwPageWriter *self, Request *request)
{
    uint64_t n_pages = self->areas[0].n_pages;
    if (!self->now.is_paused) {
        request->problem = "not paused";
    } else if (request->first_page >= n_pages || request->n_pages > n_pages - request->first_page) {
        request->problem = "no such pages";
    } else {
        for (uint64_t i = 0; i < request->n_pages; i++) {
            write_page(self, request->first_page + i);
        }
    }
}

/* True if the request is done; false for a sweep, which takes its place among the sweeps. */
static bool
take_request(GwPageWriter *self, Request *request, uint64_t now_ns)
{
    switch (request->kind) {
    case REQUEST_PAUSE:
        self->now.is_paused = true;
        self->now.last_batch_ns = 0;
        return true;
    case REQUEST_RESUME:
        if (self->now.is_paused) {
            self->now.is_paused = false;
            start_pacing(self, now_ns);
        }
        return true;
    case REQUEST_RATE:
        self->now.rate_bytes_per_s = request->rate_bytes_per_s;
        start_pacing(self, now_ns);
        return true;
    case REQUEST_WRITE:
        write_exactly(self, request);
        return true;
    case REQUEST_RESET_GAP:
        self->now.longest_gap_ns = 0;
        if (self->now.last_batch_ns != 0) {
            self->now.last_batch_ns = now_ns;
        }
        return true;
    case REQUEST_VERIFY: {
        Request **end = &self->sweeps;
        while (*end != NULL) {
            end = &(*end)->next;
        }
        request->next = NULL;
        *end = request;
        return false;
    }
    }
    return true;
}

static void
finish_locked(GwPageWriter *self, Request *request)
{
    request->is_done = true;
    pthread_cond_broadcast(&self->wake_clients);
}

static void
publish_locked(GwPageWriter *self, uint64_t now_ns)
{
    self->published = self->now;
    gw_writer_rate_add(&self->recent, self->now.n_written, now_ns);
}

static void
wait_locked(GwPageWriter *self)
{
    uint64_t until_ns = gw_pacer_next_ns(&self->check_pacer);
    if (is_writing(self) && gw_pacer_next_ns(&self->write_pacer) < until_ns) {
        until_ns = gw_pacer_next_ns(&self->write_pacer);
    }
    if (self->next_sync_ns < until_ns) {
        until_ns = self->next_sync_ns;
    }
    if (until_ns <= gw_now_ns()) {
        return;
    }
    struct timespec until =
        gw_timespec_from_ns(until_ns == UINT64_MAX ? gw_now_ns() + 3600 * GW_NS_PER_S : until_ns);
    pthread_cond_timedwait(&self->wake_writer, &self->lock, &until);
}

static void *
run_writer(void *data)
{
    GwPageWriter *self = data;
    for (;;) {
        pthread_mutex_lock(&self->lock);
        publish_locked(self, gw_now_ns());
        if (self->queue == NULL && self->sweeps == NULL) {
            wait_locked(self);
        }
        Request *requests = self->queue;
        self->queue = NULL;
        pthread_mutex_unlock(&self->lock);

        uint64_t now_ns = gw_now_ns();
        while (requests != NULL) {
            Request *request = requests;
            requests = request->next;
            if (take_request(self, request, now_ns)) {
                pthread_mutex_lock(&self->lock);
                publish_locked(self, now_ns); /* whoever asked sees the effect in the next status */
                finish_locked(self, request);
                pthread_mutex_unlock(&self->lock);
            }
        }
        write_batch(self, gw_now_ns());
        check_some(self, now_ns);
        if (self->store.sync != NULL) {
            sync_if_due(self, now_ns);
        }
        Request *sweep = self->sweeps;
        if (sweep != NULL && sweep_some(self, sweep)) {
            self->sweeps = sweep->next;
            pthread_mutex_lock(&self->lock);
            finish_locked(self, sweep);
            pthread_mutex_unlock(&self->lock);
        }
    }
    return NULL;
}

/* --- commands, in clients' threads --- */

static void
submit_and_wait(GwPageWriter *self, Request *request)
{
    pthread_mutex_lock(&self->lock);
    Request **end = &self->queue;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = request;
    pthread_cond_signal(&self->wake_writer);
    while (!request->is_done) {
        pthread_cond_wait(&self->wake_clients, &self->lock);
    }
    pthread_mutex_unlock(&self->lock);
}

static void
command_status(GwPageWriter *self, FILE *reply)
{
    pthread_mutex_lock(&self->lock);
    uint64_t now_ns = gw_now_ns();
    GwWriterStatus status = self->published;
    uint64_t recent = gw_writer_rate_bytes_per_s(&self->recent, status.n_written, now_ns);
    pthread_mutex_unlock(&self->lock);

    fputc('{', reply);
    gw_writer_status_print(&status, self->areas, self->n_areas, recent, self->start_ns, now_ns, reply);
    fputc('}', reply);
}

static void
command_simple(GwPageWriter *self, Request *request, FILE *reply)
{
    submit_and_wait(self, request);
    if (request->problem != NULL) {
        fprintf(reply, "{\"error\":\"%s\"}", request->problem);
    } else {
        fputs("{\"ok\":true}", reply);
    }
}

static void
command_verify(GwPageWriter *self, FILE *reply)
{
    Request request = {.kind = REQUEST_VERIFY};
    uint64_t start_ns = gw_now_ns();
    submit_and_wait(self, &request);
    fprintf(reply, "{\"took_ms\":%.1f,", (double)(gw_now_ns() - start_ns) / 1e6);
    gw_page_tally_print(&request.tally, reply);
    fputc('}', reply);
}

bool
gw_page_writer_command(GwPageWriter *self, char *const *words, unsigned n_words, FILE *reply)
{
    static const struct {
        const char *name;
        unsigned n_words;
        RequestKind kind;
    } commands[] = {
        {"verify", 1, REQUEST_VERIFY}, {"pause", 1, REQUEST_PAUSE}, {"resume", 1, REQUEST_RESUME},
        {"rate", 2, REQUEST_RATE},     {"write", 3, REQUEST_WRITE}, {"reset-gap", 1, REQUEST_RESET_GAP},
    };
    if (n_words == 1 && strcmp(words[0], "status") == 0) {
        command_status(self, reply);
        return true;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(words[0], commands[i].name) != 0) {
            continue;
        }
        Request request = {.kind = commands[i].kind};
        if (n_words != commands[i].n_words) {
            fputs("{\"error\":\"wrong number of arguments\"}", reply);
        } else if (request.kind == REQUEST_VERIFY) {
            command_verify(self, reply);
        } else if ((request.kind == REQUEST_RATE && gw_rate_parse(words[1], &request.rate_bytes_per_s) < 0) ||
                   (request.kind == REQUEST_WRITE && (gw_size_parse(words[1], &request.first_page) < 0 ||
                                                      gw_size_parse(words[2], &request.n_pages) < 0))) {
            fputs("{\"error\":\"bad number\"}", reply);
        } else {
            command_simple(self, &request, reply);
        }
        return true;
    }
    return false;
}

/* --- making --- */

static void
fill_pages(GwPageWriter *self, GwPageArea *area, uint64_t first, uint64_t count)
{
    if (self->store.fill != NULL && self->store.fill(self->store.context, area, first, count) == 0) {
        return;
    }
    for (uint64_t page_no = first; page_no < first + count; page_no++) {
        int r = self->store.write(self->store.context, area, page_no, 1, true);
        if (r < 0) {
            self->now.n_write_errors++;
            gw_page_tally_add_io_error(&self->now.tally, &self->reporter, area, page_no, -r);
            area->is_wrong[page_no] = 1;
        }
    }
}

static void
fill_areas(GwPageWriter *self)
{
    for (unsigned i = 0; i < self->n_areas; i++) {
        GwPageArea *area = &self->areas[i];
        for (uint64_t page_no = 0; page_no < area->n_pages && area->generations != NULL; page_no++) {
            area->generations[page_no] = 1;
        }
        for (uint64_t first = 0; first < area->n_pages; first += GW_PAGE_STORE_CHUNK) {
            uint64_t n_left = area->n_pages - first;
            fill_pages(self, area, first, n_left < GW_PAGE_STORE_CHUNK ? n_left : GW_PAGE_STORE_CHUNK);
        }
    }
}

int
gw_page_writer_config_set(GwPageWriterConfig *config, const char *name, const char *value)
{
    if (strcmp(name, "rate") == 0) {
        return gw_rate_parse(value, &config->rate_bytes_per_s);
    }
    if (strcmp(name, "check") == 0) {
        return gw_size_parse(value, &config->check_pages_per_s);
    }
    if (strcmp(name, "order") == 0 && strcmp(value, "random") == 0) {
        config->order = GW_ORDER_RANDOM;
        return 0;
    }
    if (strcmp(name, "order") == 0 && strcmp(value, "round-robin") == 0) {
        config->order = GW_ORDER_ROUND_ROBIN;
        return 0;
    }
    return -EINVAL;
}

GwPageWriter *
gw_page_writer_new(const GwPageWriterConfig *config, const GwPageStore *store, GwPageArea *areas,
                   unsigned n_areas)
{
    GwPageWriter *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->config = *config;
    self->store = *store;
    self->areas = areas;
    self->reporter.name = config->name;
    self->n_areas = n_areas;
    self->random_state = areas[0].region.region_id | 1;
    self->next_sync_ns = config->sync_interval_ns == 0 ? UINT64_MAX : gw_now_ns() + config->sync_interval_ns;
    self->now.rate_bytes_per_s = config->rate_bytes_per_s;

    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->wake_writer, &attributes);
    pthread_cond_init(&self->wake_clients, &attributes);
    pthread_condattr_destroy(&attributes);

    fill_areas(self);
    return self;
}

int
gw_page_writer_start(GwPageWriter *self)
{
    self->start_ns = gw_now_ns();
    start_pacing(self, self->start_ns);
    gw_pacer_start(&self->check_pacer, self->config.check_pages_per_s * GW_VERIFIED_PAGE_SIZE_BYTES,
                   GW_VERIFIED_PAGE_SIZE_BYTES, self->start_ns);
    pthread_t thread;
    return -pthread_create(&thread, NULL, run_writer, self);
}
