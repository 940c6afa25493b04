/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Look-ups in the center's answers: whatever is missing or of another type is "not there", as is everything
 * in an object that is NULL. Borrowed. */
#pragma once

#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

const char *gw_field_text(JsonObject *object, const char *member, const char *otherwise);
JsonObject *gw_field_object(JsonObject *object, const char *member);
bool gw_field_bool(JsonObject *object, const char *member); /* false if it is not there */

/* Integers and fractions alike; false if it is neither. */
bool gw_field_number(JsonObject *object, const char *member, double *ret_value);
double gw_field_number_or(JsonObject *object, const char *member, double otherwise);

/* Objects of a list; 0 and NULL if it is none. */
guint gw_field_count(JsonObject *object, const char *member);
JsonObject *gw_field_element(JsonObject *object, const char *member, guint i);

/* The strings of a list behind commas, or the members `inner` of its objects if that is not NULL; "" if there
 * are none. Owned. */
char *gw_field_join(JsonObject *object, const char *member, const char *inner);

/* A copy of the member as it is, a null if it is missing. Owned. */
JsonNode *gw_field_copy(JsonObject *object, const char *member);
