/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A center with one VM and one motion, over TLS on "localhost", which goes through its steps as it is asked,
 * and can go away in the middle. What the CLI sees of a center, and nothing behind it. */
#pragma once

#include "http-rig.h"

#include <glib.h>
#include <stdbool.h>

typedef enum { FAKE_COMPLETES, FAKE_FAILS, FAKE_CHECK_FAILS, FAKE_HANGS } FakeFate;

/* What it answers besides; the last has no method. */
typedef struct {
    const char *method, *path, *text;
} FakeAnswer;

typedef struct {
    HttpTrust *trust;
    const FakeAnswer *answers; /* borrowed; NULL: none */
    HttpRig *rig;              /* NULL: away */
    unsigned port;
    FakeFate fate;
    bool loses_order; /* takes the motion, and answers as if it were lost */
    char *url;
    /* guarded by lock */
    GMutex lock;
    GCond changed;
    unsigned n_asked;  /* for the task */
    unsigned n_logins; /* with the right password or not */
    bool ordered, cancelled;
    char *request; /* the order's body */
} FakeCenter;

#define FAKE_TOKEN    "token-of-the-fake"
#define FAKE_PASSWORD "correct horse"

FakeCenter *fake_center_new(FakeFate fate);
FakeCenter *fake_center_new_with(FakeFate fate, const FakeAnswer *answers);
void fake_center_free(FakeCenter *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FakeCenter, fake_center_free)

void fake_center_leave(FakeCenter *self);
void fake_center_return(FakeCenter *self); /* at the same port */

/* Waits until the task was asked for so often. */
void fake_center_await_asked(FakeCenter *self, unsigned n);
