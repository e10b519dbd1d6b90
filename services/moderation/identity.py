"""Who may know whose name and read whose remarks.

Canvas: app/models/abstract_assignment.rb (can_view_other_grader_identities?, can_view_other_grader_comments?).
"""

from services.moderation.assignment import Assignment
from services.moderation.course import Course


def may_grade_or_look(course: Course, user_id: int) -> bool:
    """Either of the course permissions that open the gradebook."""
    return course.may(user_id, "manage_grades") or course.may(user_id, "view_all_grades")


def sees_graders(course: Course, assignment: Assignment, user_id: int) -> bool:
    """Whether other graders are named to the user."""
    if not may_grade_or_look(course, user_id):
        return False
    if not assignment.moderated_grading or assignment.grades_published_at is not None:
        return True
    if assignment.is_final_grader(course, user_id):
        return assignment.grader_names_visible_to_final_grader
    if assignment.permits_moderation(course, user_id):
        return True
    return assignment.grader_comments_visible_to_graders and not assignment.graders_anonymous_to_graders


def sees_graders_comments(course: Course, assignment: Assignment, user_id: int) -> bool:
    """Whether other graders' remarks are shown to the user."""
    if not assignment.moderated_grading or assignment.permits_moderation(course, user_id):
        return True
    return assignment.grader_comments_visible_to_graders and may_grade_or_look(course, user_id)
