// The one kind of failure that a user can do something about: its text is printed as one line, and the program ends
// with 2.
#pragma once

#include <stdexcept>

namespace unetkit {

struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace unetkit
